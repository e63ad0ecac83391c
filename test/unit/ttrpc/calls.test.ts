import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CallContext, Code, codeName, connect, TtrpcError } from '../../../src/ttrpc/index.ts';
import { method, service } from '../../../src/wire/index.ts';
import { Echo, echoService, request, response, serve } from './echo.ts';

const next = { Echo: ({ sequence, text }: Echo) => ({ sequence: sequence + 1n, text }) };

describe('a unary call', () => {
  it('brings the request to the handler and the answer back', async (t) => {
    const client = await (await serve(t, next)).client();
    assert.deepEqual(await client.call(echoService, 'Echo', { sequence: 41, text: 'ahoy' }), {
      sequence: 42n,
      text: 'ahoy',
    });
  });

  it('may overtake another on the same connection', async (t) => {
    const gates = new Map<string, PromiseWithResolvers<undefined>>();
    for (const text of ['a', 'b']) gates.set(text, Promise.withResolvers());
    const setting = await serve(t, {
      Echo: async (echo) => {
        await gates.get(echo.text)?.promise;
        return echo;
      },
    });
    const client = await setting.client();
    const order: string[] = [];
    const calls = ['a', 'b'].map(async (text) => order.push((await client.call(echoService, 'Echo', { text })).text));
    gates.get('b')?.resolve(undefined);
    await calls[1];
    gates.get('a')?.resolve(undefined);
    await Promise.all(calls);
    assert.deepEqual(order, ['b', 'a']);
  });

  it('works a thousand at a time', async (t) => {
    const client = await (await serve(t, next)).client();
    const calls = Array.from({ length: 1000 }, (_, i) => client.call(echoService, 'Echo', { sequence: i }));
    const answers = await Promise.all(calls);
    assert.deepEqual(
      answers.map(({ sequence }) => sequence),
      Array.from({ length: 1000 }, (_, i) => BigInt(i + 1)),
    );
  });

  it('carries metadata, whose keys are matched in lower case', async (t) => {
    let seen: CallContext | undefined;
    const setting = await serve(t, { Echo: (echo, context) => ((seen = context), echo) });
    const metadata = { 'containerd-namespace-ttrpc': 'k8s.io', Many: ['1', '2'] };
    await (await setting.client()).call(echoService, 'Echo', {}, { metadata });
    assert.equal(seen?.metadata.get('Containerd-Namespace-TTRPC'), 'k8s.io');
    assert.deepEqual(seen.metadata.all('many'), ['1', '2']);
    assert.equal(seen.metadata.get('absent'), undefined);
  });

  it('fails with the status that the handler chose', async (t) => {
    const setting = await serve(t, {
      Echo: () => Promise.reject(new TtrpcError(Code.NotFound, 'no such container')),
      Wait: () => {
        throw new TtrpcError(Code.FailedPrecondition, 'thrown at once');
      },
    });
    const client = await setting.client();
    await assert.rejects(client.call(echoService, 'Echo', {}), {
      name: 'TtrpcError',
      code: 5,
      message: 'no such container',
    });
    await assert.rejects(client.call(echoService, 'Wait', {}), { code: 9, message: 'thrown at once' });
  });

  it('fails with UNKNOWN and the message when the handler throws anything else, which is logged', async (t) => {
    const setting = await serve(t, { Echo: () => Promise.reject(new RangeError('oh')) });
    await assert.rejects((await setting.client()).call(echoService, 'Echo', {}), { code: Code.Unknown, message: 'oh' });
    assert.match(setting.log.warnings.join(), /a handler failed without choosing a status .*test\.EchoService.*Echo/);
  });

  it('is answered as Go does when there is no such service, method or handler', async (t) => {
    const client = await (await serve(t, next)).client();
    const other = service('test.Other', { Do: method('unary', Echo, Echo), constructor: method('unary', Echo, Echo) });
    const unknown = { ...other, name: 'test.EchoService' };
    await assert.rejects(client.call(other, 'Do', {}), { code: Code.Unimplemented, message: 'service test.Other' });
    await assert.rejects(client.call(unknown, 'Do', {}), { code: Code.Unimplemented, message: 'method Do' });
    await assert.rejects(client.call(unknown, 'constructor', {}), { code: 12, message: 'method constructor' });
    await assert.rejects(client.call(echoService, 'Wait', {}), { code: 12, message: 'method Wait' });
  });

  it('takes and gives messages of almost 4 MiB, and fails on more without harm to the connection', async (t) => {
    const setting = await serve(t, {
      Echo: (echo) => (echo.sequence ? { text: 'x'.repeat(Number(echo.sequence)) } : echo),
    });
    const client = await setting.client();
    const text = 'y'.repeat(4 * 1024 * 1024 - 100);
    assert.equal((await client.call(echoService, 'Echo', { text })).text.length, text.length);
    await assert.rejects(client.call(echoService, 'Echo', { text: text + text }), {
      code: Code.ResourceExhausted,
      message: /^message length \d+ exceed maximum message size of 4194304$/,
    });
    await assert.rejects(client.call(echoService, 'Echo', { sequence: 5_000_000 }), { code: Code.ResourceExhausted });
    assert.equal((await client.call(echoService, 'Echo', { text: 'still here' })).text, 'still here');
  });
});

describe('a deadline', () => {
  it('ends the call at the client, and aborts the handler with the status to answer', async (t) => {
    const aborted = Promise.withResolvers<unknown>();
    const setting = await serve(t, {
      Wait: async (_, { signal }) => {
        await once(signal, 'abort');
        aborted.resolve(signal.reason);
        signal.throwIfAborted();
        return {};
      },
    });
    const call = (await setting.client()).call(echoService, 'Wait', {}, { timeoutMs: 30 });
    await assert.rejects(call, { code: Code.DeadlineExceeded });
    assert.equal(((await aborted.promise) as TtrpcError).code, Code.DeadlineExceeded);
  });

  it('is sent in nanoseconds and answered by the server when a client does not watch it itself', async (t) => {
    const setting = await serve(t, {
      Wait: (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    });
    const raw = await setting.raw();
    const before = performance.now();
    raw.send(request(1, 'Wait', {}, { timeoutNano: 40_000_000 }));
    const [answer] = await raw.received(1);
    assert.deepEqual(answer && response(answer).code, Code.DeadlineExceeded);
    assert.ok(performance.now() - before >= 38);
  });

  it('that has passed when the request comes is answered without calling the handler', async (t) => {
    let called = false;
    const setting = await serve(t, { Echo: (echo) => ((called = true), echo) });
    const raw = await setting.raw();
    raw.send(request(1, 'Echo', {}, { timeoutNano: -1 }));
    const [answer] = await raw.received(1);
    assert.equal(answer && response(answer).code, Code.DeadlineExceeded);
    assert.equal(called, false);
  });
});

describe('a client', () => {
  it('gives a call up when its signal is aborted, before or after it was made', async (t) => {
    const setting = await serve(t, { Wait: () => new Promise(() => undefined), ...next });
    const client = await setting.client();
    await assert.rejects(client.call(echoService, 'Wait', {}, { signal: AbortSignal.abort() }), {
      code: Code.Cancelled,
    });
    await assert.rejects(client.call(echoService, 'Wait', {}, { signal: AbortSignal.timeout(20) }), {
      code: Code.Cancelled,
    });
    assert.equal((await client.call(echoService, 'Echo', {})).sequence, 1n);
  });

  it('fails its calls with UNAVAILABLE when the server goes away', async (t) => {
    const setting = await serve(t, { Wait: () => new Promise(() => undefined) });
    const client = await setting.client();
    const call = client.call(echoService, 'Wait', {});
    const rejected = assert.rejects(call, { code: Code.Unavailable });
    await sleep(20);
    setting.server.close();
    await rejected;
    assert.match(await client.whenClosed, /closed/);
    await assert.rejects(client.call(echoService, 'Wait', {}), { code: Code.Unavailable, message: 'ttrpc: closed' });
  });

  it('cannot connect to where nobody listens, and says so', async () => {
    await assert.rejects(connect('/nonexistent/socket', { timeoutMs: 100 }), {
      code: Code.Unavailable,
      message: /cannot connect to \/nonexistent\/socket: .*ENOENT/,
    });
  });

  it('that shuts its side still gets the answers it waits for, and then the server closes', async (t) => {
    const gate = Promise.withResolvers<undefined>();
    const setting = await serve(t, {
      Wait: async (echo) => {
        await gate.promise;
        return echo;
      },
    });
    const raw = await setting.raw();
    raw.socket.end(Buffer.concat([request(1, 'Wait', { text: 'late' }), request(3, 'Wait', { text: 'later' })]));
    await sleep(50);
    assert.equal(raw.isClosed, false);
    gate.resolve(undefined);
    const answers = await raw.received(2);
    assert.deepEqual(
      answers.map((one) => response(one).echo.text),
      ['late', 'later'],
    );
    await raw.closed();
    assert.equal(setting.server.connections.size, 0);
  });

  it('that has shut its side and then goes away is noticed, though it was to be answered', async (t) => {
    const setting = await serve(t, { Wait: () => new Promise(() => undefined) });
    const raw = await setting.raw();
    raw.socket.end(request(1, 'Wait'));
    await sleep(50);
    const { connections } = setting.server;
    assert.deepEqual([...connections].length, 1);
    raw.socket.destroy();
    for (let i = 0; i < 150 && connections.size; i++) await sleep(20);
    assert.deepEqual([...connections], []);
  });

  it('that goes away cancels what it asked for', async (t) => {
    const aborted = Promise.withResolvers<unknown>();
    const setting = await serve(t, {
      Wait: (_, { signal }) => {
        signal.addEventListener('abort', () => aborted.resolve(signal.reason));
        return new Promise(() => undefined);
      },
    });
    const raw = await setting.raw();
    raw.send(request(1, 'Wait'));
    await sleep(20);
    raw.socket.destroy();
    assert.equal(((await aborted.promise) as TtrpcError).code, Code.Cancelled);
    assert.equal(setting.server.connections.size, 0);
  });
});

describe('authorization', () => {
  it('closes the connection of a peer that is refused, and logs it', async (t) => {
    const setting = await serve(t, next, { authorize: (peer) => peer !== undefined });
    const raw = await setting.raw();
    raw.send(request(1, 'Echo'));
    await raw.closed();
    assert.equal(raw.frames.length, 0);
    assert.match(setting.log.warnings.join(), /connection refused/);
  });
});

describe('status codes', () => {
  it('have the names that gRPC gives them', () => {
    assert.equal(codeName(Code.NotFound), 'NOT_FOUND');
    assert.equal(codeName(Code.Ok), 'OK');
    assert.equal(codeName(99), 'CODE_99');
  });
});
