import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, TtrpcError } from '../../../src/ttrpc/index.ts';
import { envelopes } from '../../../src/wire/index.ts';
import { Echo, type EchoHandlers, echoService, frame, response, serve } from './echo.ts';

const flag = { remoteClosed: 1, remoteOpen: 2, noData: 4 };

const handlers: EchoHandlers = {
  Echo: (echo) => echo,
  Collect: async (requests) => {
    let sequence = 0n;
    for await (const one of requests) sequence += one.sequence;
    return { sequence };
  },
  async *Count({ sequence }) {
    for (let i = 1n; i <= sequence; i++) yield await Promise.resolve({ sequence: i });
  },
  async *Converse(requests) {
    for await (const { sequence } of requests) {
      if (sequence === 13n) throw new TtrpcError(Code.InvalidArgument, 'not that one');
      yield { sequence: sequence + 1n };
    }
  },
};

const start = (method: string, payload?: Buffer) =>
  envelopes.Request.encode({ service: 'test.EchoService', method, ...(payload ? { payload } : {}) });

describe('a stream', () => {
  it('of the client is answered once, at its end', async (t) => {
    const client = await (await serve(t, handlers)).client();
    const stream = client.open(echoService, 'Collect', undefined);
    for (let i = 1; i <= 100; i++) await stream.send({ sequence: i });
    stream.closeSend();
    assert.equal((await stream.receive())?.sequence, 5050n);
    assert.equal(await stream.receive(), undefined);
  });

  it('of the server comes in order and ends', async (t) => {
    const client = await (await serve(t, handlers)).client();
    const received: bigint[] = [];
    for await (const { sequence } of client.open(echoService, 'Count', { sequence: 500 })) received.push(sequence);
    assert.deepEqual(
      received,
      Array.from({ length: 500 }, (_, i) => BigInt(i + 1)),
    );
  });

  it('both ways lets each side answer the other', async (t) => {
    const client = await (await serve(t, handlers)).client();
    const stream = client.open(echoService, 'Converse', undefined);
    for (let i = 0; i < 100; i++) {
      if (i === 13) continue;
      await stream.send({ sequence: i });
      assert.equal((await stream.receive())?.sequence, BigInt(i + 1));
    }
    stream.closeSend();
    assert.equal(await stream.receive(), undefined);
  });

  it('fails with the status that its handler throws', async (t) => {
    const client = await (await serve(t, handlers)).client();
    const stream = client.open(echoService, 'Converse', undefined);
    await stream.send({ sequence: 13 });
    await assert.rejects(stream.receive(), { code: Code.InvalidArgument, message: 'not that one' });
    await assert.rejects(stream.send({}), { code: Code.FailedPrecondition });
  });

  it('has on the wire the flags that the protocol asks for', async (t) => {
    const raw = await (await serve(t, handlers)).raw();
    raw.send(frame(1, 1, flag.remoteClosed, start('Count', Echo.encode({ sequence: 2 }))));
    raw.send(frame(3, 1, flag.remoteOpen, start('Collect')), frame(3, 3, 0, Echo.encode({ sequence: 5 })));
    raw.send(frame(3, 3, 0), frame(3, 3, flag.remoteClosed | flag.noData));
    const frames = await raw.received(4);
    const seen = frames.map(({ streamId, type, flags }) => [streamId, type, flags]).sort();
    assert.deepEqual(seen, [
      [1, 3, 0],
      [1, 3, 0],
      [1, 3, flag.remoteClosed | flag.noData],
      [3, 2, 0],
    ]);
    const collected = frames.find(({ streamId }) => streamId === 3);
    assert.equal(collected && response(collected).echo.sequence, 5n);
  });

  it('may bring its last message along with the end, and its first with the request', async (t) => {
    const raw = await (await serve(t, handlers)).raw();
    raw.send(frame(1, 1, flag.remoteOpen, start('Collect', Echo.encode({ sequence: 1 }))));
    raw.send(frame(1, 3, flag.remoteClosed, Echo.encode({ sequence: 2 })));
    const [answer] = await raw.received(1);
    assert.equal(answer && response(answer).echo.sequence, 3n);
  });

  it('refuses data after its end', async (t) => {
    const setting = await serve(t, { Collect: () => new Promise(() => undefined), Echo: (echo) => echo });
    const raw = await setting.raw();
    raw.send(
      frame(1, 1, flag.remoteOpen, start('Collect')),
      frame(1, 3, flag.remoteClosed | flag.noData),
      frame(1, 3, 0),
    );
    const [answer] = await raw.received(1);
    assert.equal(answer && response(answer).code, Code.InvalidArgument);
  });

  it('tells its handler when the client is gone', async (t) => {
    const aborted = Promise.withResolvers<unknown>();
    const setting = await serve(t, {
      Collect: async (_, { signal }) => {
        await once(signal, 'abort');
        aborted.resolve(signal.reason);
        return {};
      },
    });
    const client = await setting.client();
    const stream = client.open(echoService, 'Collect', undefined);
    await stream.send({});
    client.close();
    await assert.rejects(stream.receive(), { code: Code.Unavailable });
    assert.equal(((await aborted.promise) as TtrpcError).code, Code.Cancelled);
  });

  it('that its server does not consume is given up after a second, and other calls go on', async (t) => {
    const setting = await serve(t, { Echo: (echo) => echo, Collect: () => new Promise(() => undefined) });
    const client = await setting.client();
    const stream = client.open(echoService, 'Collect', undefined);
    for (let i = 0; i < 100; i++) await stream.send({ sequence: i });
    assert.equal((await client.call(echoService, 'Echo', { text: 'go on' }, { timeoutMs: 5000 })).text, 'go on');
    await assert.rejects(stream.receive(), { code: Code.ResourceExhausted, message: 'ttrpc: stream buffer full' });
  });

  it('that its client does not consume is given up after a second, and other calls go on', async (t) => {
    const client = await (await serve(t, handlers)).client();
    const stream = client.open(echoService, 'Count', { sequence: 1000 });
    await sleep(100);
    assert.equal((await client.call(echoService, 'Echo', { text: 'go on' }, { timeoutMs: 5000 })).text, 'go on');
    await assert.rejects(stream.receive(), { code: Code.ResourceExhausted });
  });

  it('that floods waits for its reader, and loses nothing', async (t) => {
    const setting = await serve(t, {
      async *Count({ sequence }) {
        const text = 'z'.repeat(1024 * 1024);
        for (let i = 0n; i < sequence; i++) yield await Promise.resolve({ sequence: i, text });
      },
    });
    const client = await setting.client();
    let count = 0n;
    for await (const { sequence } of client.open(echoService, 'Count', { sequence: 40 }))
      assert.equal(sequence, count++);
    assert.equal(count, 40n);
  });
});
