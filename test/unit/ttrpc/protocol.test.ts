import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { Code } from '../../../src/ttrpc/index.ts';
import { maxDataBytes } from '../../../src/ttrpc/frame.ts';
import { type Echo, frame, type RawClient, request, response, serve, type Setting } from './echo.ts';

const echo = { Echo: (one: Echo) => one };
const noSuchType = 9;

async function start(t: TestContext): Promise<{ setting: Setting; raw: RawClient }> {
  const setting = await serve(t, echo);
  return { setting, raw: await setting.raw() };
}

/** Sends frames, and tells what comes back for them and for one good call after them. */
async function answers(t: TestContext, ...frames: Buffer[]): Promise<[number, number, string][]> {
  const { raw } = await start(t);
  raw.send(...frames, request(1001, 'Echo', { text: 'good' }));
  await raw.received(1);
  while (raw.frames.at(-1)?.streamId !== 1001 && !raw.isClosed) await raw.received(raw.frames.length + 1);
  assert.equal(raw.isClosed, false);
  return raw.frames.slice(0, -1).map((one) => [one.streamId, response(one).code, response(one).message]);
}

/** Sends frames, and expects that the server closes this connection, logs why, and goes on with another. */
async function closes(t: TestContext, why: RegExp, ...frames: Buffer[]): Promise<void> {
  const { setting, raw } = await start(t);
  const other = await setting.raw();
  raw.send(...frames);
  await raw.closed();
  assert.match(setting.log.warnings.join('\n'), why);
  other.send(request(1, 'Echo', { text: 'undisturbed' }));
  const [answer] = await other.received(1);
  assert.equal(answer && response(answer).echo.text, 'undisturbed');
}

describe('a server that gets a wrong frame', () => {
  it('answers an even stream id on that stream', async (t) => {
    const expected = [2, Code.InvalidArgument, 'StreamID must be odd for client initiated streams'];
    assert.deepEqual(await answers(t, frame(2, 1, 0)), [expected]);
  });

  it('answers a stream id that does not ascend', async (t) => {
    const [first, second] = await answers(t, request(5, 'Nothing'), request(3, 'Echo'));
    assert.deepEqual(first, [5, Code.Unimplemented, 'method Nothing']);
    assert.deepEqual(second, [3, Code.InvalidArgument, 'StreamID cannot be re-used and must increment']);
  });

  it('answers data for a stream that nobody opened', async (t) => {
    assert.deepEqual(await answers(t, frame(7, 3, 0)), [[7, Code.InvalidArgument, 'StreamID is no longer active']]);
  });

  it('passes over data for a stream that has ended', async (t) => {
    assert.deepEqual(await answers(t, request(7, 'Nothing'), frame(7, 3, 0)), [
      [7, Code.Unimplemented, 'method Nothing'],
    ]);
  });

  it('answers a request that is no protobuf, and one whose payload is none', async (t) => {
    const [first = [], second = []] = await answers(
      t,
      frame(1, 1, 0, Buffer.from('ffffff', 'hex')),
      frame(3, 1, 0, Buffer.from('0a10746573742e4563686f5365727669636512044563686f1a0112', 'hex')),
    );
    assert.deepEqual(first.slice(0, 2), [1, Code.InvalidArgument]);
    assert.match(String(first[2]), /^unmarshal request error: /);
    assert.deepEqual(second.slice(0, 2), [3, Code.InvalidArgument]);
    assert.match(String(second[2]), /^ttrpc: error unmarshalling payload: /);
  });

  it('answers an oversized request, passes over its data and goes on', async (t) => {
    const text = `message length ${maxDataBytes + 1} exceed maximum message size of ${maxDataBytes}`;
    const tooLarge = frame(1, 1, 0, Buffer.alloc(maxDataBytes + 1, 0xff));
    assert.deepEqual(await answers(t, tooLarge), [[1, Code.ResourceExhausted, text]]);
  });

  it('passes over a frame of a type that it does not know', async (t) => {
    assert.deepEqual(await answers(t, frame(1, noSuchType, 0, Buffer.from('future'))), []);
  });

  it('closes the connection on a reserved first byte', (t) => {
    return closes(t, /is no ttRPC: a frame starts with byte 128/, Buffer.from('80000000000000010100', 'hex'));
  });

  it('closes the connection on a response', (t) => closes(t, /the peer sent a response \(stream 1\)/, frame(1, 2, 0)));

  it('closes the connection on data for a unary call', async (t) => {
    const setting = await serve(t, { Wait: () => new Promise(() => undefined) });
    const raw = await setting.raw();
    raw.send(request(1, 'Wait'), frame(1, 3, 0));
    await raw.closed();
    assert.match(setting.log.warnings.join(), /data for the unary call on stream 1/);
  });

  it('closes the connection when it ends inside a frame', async (t) => {
    const { setting, raw } = await start(t);
    raw.socket.end(request(1, 'Echo').subarray(0, 12));
    await raw.closed();
    assert.match(setting.log.warnings.join(), /ended its side inside a frame/);
    assert.equal(raw.frames.length, 0);
  });

  it('reads no more from a peer that does not read its answers', async (t) => {
    const setting = await serve(t, { Echo: (one) => ({ text: one.text.repeat(1000) }) });
    const raw = await setting.raw();
    raw.socket.pause();
    const text = 'x'.repeat(4000);
    const count = 40;
    for (let i = 0; i < count; i++) raw.send(request(2 * i + 1, 'Echo', { text }));
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(
      setting.server.isQuiet(() => true),
      false,
    );
    raw.socket.resume();
    assert.equal((await raw.received(count)).length, count);
  });
});
