import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FrameError, FrameParser, headerBytes, maxDataBytes } from '../../../src/ttrpc/frame.ts';
import { DecodeError, envelopes, task } from '../../../src/wire/index.ts';
import { type Echo, echoService, frame, type RawClient, request, serve } from './echo.ts';
import { fuzzSeed, Random } from './random.ts';

const seed = fuzzSeed();
console.log(`BERTH_FUZZ_SEED=${seed}`);

const parserInputs = 1_000_000;
const decoderInputs = 200_000;
const hostileStreams = 3000;

/** Cuts the bytes at random into pieces, and checks all that a parser promises. */
function check(random: Random, bytes: Buffer): void {
  const parser = new FrameParser();
  let position = 0;
  let accounted = 0;
  try {
    while (position < bytes.length) {
      const end = Math.min(bytes.length, position + 1 + random.below(random.chance(3) ? 4 : 200));
      parser.push(bytes.subarray(position, end));
      position = end;
      for (let one = parser.next(); one; one = parser.next()) {
        if ('oversizedBytes' in one) {
          assert.ok(one.oversizedBytes > maxDataBytes && one.oversizedBytes < 1 << 24);
          accounted += headerBytes + one.oversizedBytes;
        } else {
          assert.ok(one.data.length <= maxDataBytes && one.bytes.length === headerBytes + one.data.length);
          assert.ok(one.bytes.equals(bytes.subarray(accounted, accounted + one.bytes.length)));
          accounted += one.bytes.length;
        }
      }
    }
    const rest = parser.unparsed().length - parser.discardBytes;
    assert.equal(accounted + rest, bytes.length);
    assert.equal(parser.atBoundary, rest === 0);
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    assert.notEqual(bytes[accounted], 0);
  }
}

/** Frames that are right, or nearly so. */
function plausible(random: Random): Buffer {
  const frames: Buffer[] = [];
  for (let i = random.below(4); i >= 0; i--) {
    frames.push(frame(random.below(20), random.below(5), random.below(8), random.bytes(random.below(40))));
  }
  return mutate(random, Buffer.concat(frames));
}

function mutate(random: Random, bytes: Buffer): Buffer {
  const mutations = random.below(4);
  for (let i = 0; i < mutations && bytes.length; i++) {
    const at = random.below(bytes.length);
    if (random.chance(4)) bytes = bytes.subarray(0, at);
    else if (random.chance(4)) bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(3), bytes.subarray(at)]);
    else bytes[at] = random.below(256);
  }
  return bytes;
}

describe('fuzzing', () => {
  it(`the frame parser with ${parserInputs} inputs gives frames, or the error that it documents`, () => {
    const random = new Random(seed);
    const scratch = Buffer.alloc(64);
    for (let i = 0; i < parserInputs; i++) {
      check(random, random.chance(2) ? random.fill(scratch.subarray(0, random.below(64))) : plausible(random));
    }
  });

  it(`the decoder with ${decoderInputs} inputs gives messages, or the error that it documents`, () => {
    const random = new Random(seed);
    const good = task.CreateTaskRequest.encode({
      id: 'web',
      rootfs: [{ type: 'overlay', options: ['lowerdir=/a', 'upperdir=/b'] }],
      terminal: true,
      options: { typeUrl: 'containerd.runc.v1.Options', value: Buffer.from([8, 1]) },
    });
    for (let i = 0; i < decoderInputs; i++) {
      const bytes = random.chance(4) ? random.bytes(random.below(40)) : mutate(random, Buffer.from(good));
      for (const codec of [task.CreateTaskRequest, envelopes.Request, task.UpdateTaskRequest]) {
        try {
          codec.decode(bytes);
        } catch (error) {
          if (!(error instanceof DecodeError)) throw error;
        }
      }
    }
  });

  it(`a live server with ${hostileStreams} hostile connections disturbs no other connection`, async (t) => {
    const random = new Random(seed);
    const setting = await serve(t, {
      Echo: (one: Echo) => one,
      Wait: () => new Promise(() => undefined),
      Collect: async (requests) => {
        let sequence = 0n;
        for await (const one of requests) sequence += one.sequence;
        return { sequence };
      },
      Converse: (requests) => requests,
    });
    const good = await setting.client();
    let hostileOpen = 0;
    const attack = async () => {
      const raw: RawClient = await setting.raw();
      hostileOpen++;
      const parts = Array.from({ length: 1 + random.below(4) }, () => hostileBytes(random));
      for (const part of parts) raw.send(part);
      if (random.chance(2)) raw.socket.destroy();
      else raw.socket.end();
      // One that asked to wait, and shut only its own side, is waited for.
      await Promise.race([raw.closed(), sleep(20)]);
      raw.socket.destroy();
      hostileOpen--;
    };
    const hostile = (async () => {
      for (let i = 0; i < hostileStreams; i += 10) await Promise.all(Array.from({ length: 10 }, attack));
    })();
    let calls = 0;
    const state = { isOver: false };
    void hostile.finally(() => (state.isOver = true));
    while (!state.isOver) {
      const answer = await good.call(echoService, 'Echo', { sequence: ++calls }, { timeoutMs: 5000 });
      assert.equal(answer.sequence, BigInt(calls));
    }
    await hostile;
    assert.equal(hostileOpen, 0);
    assert.ok(calls > 100);
    while (setting.server.connections.size > 1) await sleep(10);
  });
});

function hostileBytes(random: Random): Buffer {
  switch (random.below(5)) {
    case 0:
      return random.bytes(random.below(300));
    case 1:
      return plausible(random);
    case 2:
      return Buffer.from([
        0,
        0x40 + random.below(0xbf),
        random.below(256),
        random.below(256),
        0,
        0,
        0,
        1,
        1,
        0,
        1,
        2,
        3,
      ]);
    case 3: {
      const methods = ['Collect', 'Converse', 'Wait', 'Nothing'];
      return mutate(random, request(1 + random.below(8), methods[random.below(4)] as string, { text: 'x' }));
    }
    default:
      return mutate(random, request(1 + random.below(8), 'Echo', { sequence: 1, text: 'text' }));
  }
}
