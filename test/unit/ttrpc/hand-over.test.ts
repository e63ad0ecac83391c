import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, type ConnectionState, type Server, type Transport } from '../../../src/ttrpc/index.ts';
import { Server as TtrpcServer } from '../../../src/ttrpc/index.ts';
import {
  type Echo,
  type EchoHandlers,
  echoService,
  frame,
  isWait,
  LogRecord,
  type RawClient,
  request,
  response,
  serve,
  type Setting,
} from './echo.ts';

/** Handlers whose Wait calls are answered when the test says so, and that count how often Echo was called. */
class Harbour implements EchoHandlers {
  readonly waiting = new Map<string, ((echo: Echo) => void)[]>();
  readonly gates = new Map<string, Promise<undefined>>();
  readonly echoed: string[] = [];

  Wait = ({ text }: Echo) =>
    new Promise<Echo>((resolve) => this.waiting.set(text, [...(this.waiting.get(text) ?? []), resolve]));

  Echo = async (echo: Echo) => {
    this.echoed.push(echo.text);
    await this.gates.get(echo.text);
    return echo;
  };

  leave(text: string, sequence: bigint): void {
    const calls = this.waiting.get(text) ?? [];
    this.waiting.delete(text);
    for (const resolve of calls) resolve({ text, sequence });
  }
}

interface Old {
  readonly setting: Setting;
  readonly raw: RawClient;
  readonly harbour: Harbour;
  readonly transports: Transport[];
}

async function start(t: TestContext): Promise<Old> {
  const harbour = new Harbour();
  const setting = await serve(t, harbour);
  const transports: Transport[] = [];
  const accept = setting.server.accept.bind(setting.server);
  setting.server.accept = (transport) => {
    transports.push(transport);
    return accept(transport);
  };
  return { setting, raw: await setting.raw(), harbour, transports };
}

/** What an exec does: the state goes through JSON to another server, which has the same socket. */
function handOver({ setting, transports }: Old, harbour: Harbour): Server {
  const states = [...setting.server.connections].map((connection) => JSON.stringify(connection.export()));
  const server = new TtrpcServer({ logger: new LogRecord() });
  server.register(echoService, harbour);
  states.forEach((state, i) => server.adopt(transports[i] as Transport, JSON.parse(state) as ConnectionState));
  return server;
}

const texts = (raw: RawClient) => raw.frames.map((one) => `${one.streamId} ${response(one).echo.text}`).sort();

describe('a hand-over', () => {
  it('makes waiting calls anew, and each is answered once, by the successor', async (t) => {
    const old = await start(t);
    old.raw.send(
      request(1, 'Wait', { text: 'a' }),
      request(3, 'Wait', { text: 'b' }),
      request(5, 'Echo', { text: 'c' }),
    );
    await old.raw.received(1);
    await old.setting.server.freeze(isWait, 1000);
    const successor = new Harbour();
    const server = handOver(old, successor);
    // The old process is gone after an exec; here it is not, and must keep silent.
    old.harbour.leave('a', 1n);
    successor.leave('a', 2n);
    old.raw.send(request(7, 'Echo', { text: 'd' }));
    await old.raw.received(3);
    successor.leave('b', 2n);
    await old.raw.received(4);
    await sleep(20);
    assert.deepEqual(texts(old.raw), ['1 a', '3 b', '5 c', '7 d']);
    const first = old.raw.frames.find(({ streamId }) => streamId === 1);
    assert.equal(first && response(first).echo.sequence, 2n);
    assert.deepEqual([old.harbour.echoed, successor.echoed], [['c'], ['d']]);
    server.close();
  });

  it('waits for running calls, whose answers go out first', async (t) => {
    const old = await start(t);
    const gate = Promise.withResolvers<undefined>();
    old.harbour.gates.set('slow', gate.promise);
    old.raw.send(request(1, 'Echo', { text: 'slow' }));
    while (!old.harbour.echoed.length) await sleep(1);
    let frozen = false;
    const freeze = old.setting.server.freeze(isWait, 1000).then(() => (frozen = true));
    old.raw.send(request(3, 'Echo', { text: 'waits' }));
    await sleep(30);
    assert.equal(frozen, false);
    gate.resolve(undefined);
    await freeze;
    assert.deepEqual(old.harbour.echoed, ['slow']);
    const successor = new Harbour();
    const server = handOver(old, successor);
    await old.raw.received(2);
    assert.deepEqual(texts(old.raw), ['1 slow', '3 waits']);
    assert.deepEqual(successor.echoed, ['waits']);
    server.close();
  });

  it('carries over half a frame', async (t) => {
    const old = await start(t);
    const bytes = request(1, 'Echo', { text: 'in two parts' });
    old.raw.send(bytes.subarray(0, 20));
    await sleep(20);
    assert.equal(old.setting.server.isQuiet(isWait), false);
    await old.setting.server.freeze(isWait, 1000);
    const [state] = [...old.setting.server.connections].map((connection) => connection.export());
    assert.equal(state?.inbox, bytes.subarray(0, 20).toString('base64'));
    const successor = new Harbour();
    const server = handOver(old, successor);
    old.raw.send(bytes.subarray(20));
    await old.raw.received(1);
    assert.deepEqual(texts(old.raw), ['1 in two parts']);
    server.close();
  });

  it('carries over what is still to be sent, though it was cut within a frame', async (t) => {
    const old = await start(t);
    const text = 'x'.repeat(1024 * 1024);
    old.raw.socket.pause();
    for (let i = 0; i < 6; i++) old.raw.send(request(2 * i + 1, 'Echo', { text: `${i}${text}` }));
    while (old.harbour.echoed.length < 6) await sleep(5);
    await old.setting.server.freeze(isWait, 1000);
    const [connection] = old.setting.server.connections;
    assert.ok((connection?.export().outbox.length ?? 0) > 1024 * 1024);
    const server = handOver(old, new Harbour());
    old.raw.socket.resume();
    await old.raw.received(6);
    assert.deepEqual(
      texts(old.raw).map((line) => line.slice(0, 5)),
      ['1 0xx', '11 5x', '3 1xx', '5 2xx', '7 3xx', '9 4xx'],
    );
    server.close();
  });

  it('keeps deadlines and the order of stream ids', async (t) => {
    const old = await start(t);
    old.raw.send(request(9, 'Wait', { text: 'a' }, { timeoutNano: 150_000_000 }));
    while (!old.harbour.waiting.size) await sleep(1);
    await old.setting.server.freeze(isWait, 1000);
    const [state] = [...old.setting.server.connections].map((connection) => connection.export());
    const left = (state?.pending[0]?.deadlineUnixMs ?? 0) - Date.now();
    assert.ok(left > 50 && left <= 150, `${left} ms are left`);
    assert.equal(state?.lastStreamId, 9);
    await sleep(200);
    const server = handOver(old, new Harbour());
    old.raw.send(request(7, 'Echo'));
    const answers = (await old.raw.received(2)).map((one) => [one.streamId, response(one).code]);
    assert.deepEqual(answers, [
      [9, Code.DeadlineExceeded],
      [7, Code.InvalidArgument],
    ]);
    server.close();
  });

  it('that comes to nothing leaves all as it was after a thaw', async (t) => {
    const old = await start(t);
    old.raw.send(request(1, 'Wait', { text: 'a' }));
    while (!old.harbour.waiting.size) await sleep(1);
    await old.setting.server.freeze(isWait, 1000);
    for (const connection of old.setting.server.connections) connection.export();
    old.raw.send(request(3, 'Echo', { text: 'b' }));
    old.harbour.leave('a', 1n);
    await sleep(30);
    assert.equal(old.raw.frames.length, 0);
    old.setting.server.thaw();
    await old.raw.received(2);
    await sleep(20);
    assert.deepEqual(texts(old.raw), ['1 a', '3 b']);
  });

  it('is called off when a call does not end in time, and the call is named', async (t) => {
    const old = await start(t);
    old.harbour.gates.set('never', new Promise(() => undefined));
    old.raw.send(request(1, 'Echo', { text: 'never' }), request(3, 'Wait', { text: 'a' }));
    while (!old.harbour.waiting.size) await sleep(1);
    await assert.rejects(old.setting.server.freeze(isWait, 30), {
      code: Code.DeadlineExceeded,
      message: 'calls still run after 30 ms: test.EchoService/Echo',
    });
    old.raw.send(request(5, 'Echo', { text: 'served again' }));
    await old.raw.received(1);
    assert.deepEqual(texts(old.raw), ['5 served again']);
  });

  it('is noticed by a connection that comes meanwhile only as a delay', async (t) => {
    const old = await start(t);
    await old.setting.server.freeze(isWait, 1000);
    const late = await old.setting.raw();
    late.send(request(1, 'Echo', { text: 'late' }));
    await sleep(30);
    assert.deepEqual(old.harbour.echoed, []);
    const server = handOver(old, new Harbour());
    await late.received(1);
    assert.deepEqual(texts(late), ['1 late']);
    server.close();
  });

  it('of a connection under load loses and doubles nothing', async (t) => {
    const old = await start(t);
    let current: Server = old.setting.server;
    const count = 3000;
    const sending = (async () => {
      for (let i = 0; i < count; i++) {
        const bytes = request(2 * i + 1, i % 3 ? 'Echo' : 'Wait', { text: String(i) });
        old.raw.send(bytes.subarray(0, i % bytes.length));
        if (i % 50 === 0) await sleep(1);
        old.raw.send(bytes.subarray(i % bytes.length));
      }
    })();
    const transports = old.transports;
    let harbour = old.harbour;
    for (let round = 0; round < 20; round++) {
      await sleep(3);
      for (const text of [...harbour.waiting.keys()].slice(0, 10)) harbour.leave(text, 1n);
      await current.freeze(isWait, 1000);
      harbour = new Harbour();
      current = handOver({ ...old, transports, setting: { ...old.setting, server: current } }, harbour);
    }
    await sending;
    while (old.raw.frames.length < count && !old.raw.isClosed) {
      for (const text of [...harbour.waiting.keys()]) harbour.leave(text, 1n);
      await sleep(2);
    }
    await sleep(20);
    const ids = old.raw.frames.map(({ streamId }) => streamId);
    assert.equal(ids.length, count);
    assert.equal(new Set(ids).size, count);
    assert.ok(old.raw.frames.every((one) => response(one).echo.text === String((one.streamId - 1) / 2)));
    current.close();
  });
});

describe('quiet', () => {
  it('is a server whose connections only wait', async (t) => {
    const { setting, raw, harbour } = await start(t);
    assert.ok(setting.server.isQuiet(isWait));
    const gate = Promise.withResolvers<undefined>();
    harbour.gates.set('busy', gate.promise);
    raw.send(request(1, 'Wait', { text: 'a' }), request(3, 'Echo', { text: 'busy' }));
    while (!harbour.echoed.length) await sleep(1);
    assert.equal(setting.server.isQuiet(isWait), false);
    gate.resolve(undefined);
    await raw.received(1);
    assert.ok(setting.server.isQuiet(isWait));
    raw.send(frame(5, 1, 0).subarray(0, 3));
    await sleep(20);
    assert.equal(setting.server.isQuiet(isWait), false);
  });
});
