import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Frame, FrameError, FrameParser, maxDataBytes, type OversizedFrame } from '../../../src/ttrpc/frame.ts';
import { frame } from './echo.ts';

function parse(parser: FrameParser, ...chunks: Buffer[]): (Frame | OversizedFrame)[] {
  const frames: (Frame | OversizedFrame)[] = [];
  for (const chunk of chunks) {
    parser.push(chunk);
    for (let one = parser.next(); one; one = parser.next()) frames.push(one);
  }
  return frames;
}

const bytesOf = (text: string): Buffer[] => [...Buffer.from(text, 'latin1')].map((byte) => Buffer.from([byte]));

describe('the frame parser', () => {
  it('reads length, stream, type and flags as the protocol lays them out', () => {
    const [one] = parse(new FrameParser(), Buffer.from('00000003000000070201616263', 'hex')) as Frame[];
    assert.deepEqual(
      { streamId: one?.streamId, type: one?.type, flags: one?.flags, data: one?.data.toString() },
      { streamId: 7, type: 2, flags: 1, data: 'abc' },
    );
  });

  it('gives the same frames however the bytes are cut', () => {
    const bytes = Buffer.concat([
      frame(1, 1, 0, Buffer.from('first')),
      frame(3, 3, 5),
      frame(5, 1, 2, Buffer.alloc(300, 7)),
    ]);
    const whole = parse(new FrameParser(), bytes) as Frame[];
    const single = parse(new FrameParser(), ...bytesOf(bytes.toString('latin1'))) as Frame[];
    assert.equal(whole.length, 3);
    assert.deepEqual(
      single.map(({ bytes }) => bytes.toString('hex')),
      whole.map(({ bytes }) => bytes.toString('hex')),
    );
  });

  it('does not copy a frame that came in one piece', () => {
    const bytes = frame(1, 1, 0, Buffer.from('data'));
    const [one] = parse(new FrameParser(), bytes) as Frame[];
    assert.equal(one?.data.buffer, bytes.buffer);
  });

  it('takes 4 MiB of data, and passes over a frame with one byte more', () => {
    const [largest] = parse(new FrameParser(), frame(1, 1, 0, Buffer.alloc(maxDataBytes))) as Frame[];
    assert.equal(largest?.data.length, maxDataBytes);

    const parser = new FrameParser();
    const tooLarge = frame(3, 1, 0, Buffer.alloc(maxDataBytes + 1));
    const frames = parse(parser, tooLarge.subarray(0, 20), tooLarge.subarray(20), frame(5, 1, 0));
    assert.deepEqual(frames[0], { streamId: 3, type: 1, flags: 0, oversizedBytes: maxDataBytes + 1 });
    assert.equal(frames[1]?.streamId, 5);
    assert.ok(parser.atBoundary);
  });

  it('says what is wrong with a length whose first byte is not zero', () => {
    assert.throws(() => parse(new FrameParser(), Buffer.from('ff000000000000010100', 'hex')), {
      constructor: FrameError,
      message: 'a frame starts with byte 255, where ttRPC has a zero',
    });
  });

  it('knows whether it is at a frame boundary, and what it has not taken', () => {
    const parser = new FrameParser();
    const bytes = frame(1, 1, 0, Buffer.from('data'));
    assert.ok(parser.atBoundary);
    parse(parser, bytes.subarray(0, 6), bytes.subarray(6, 12));
    assert.ok(!parser.atBoundary);
    assert.deepEqual(parser.unparsed(), bytes.subarray(0, 12));
    assert.equal(parse(parser, bytes.subarray(12)).length, 1);
    assert.ok(parser.atBoundary);
  });

  it('continues to pass over an oversized frame that another parser began', () => {
    const first = new FrameParser();
    const tooLarge = frame(3, 1, 0, Buffer.alloc(maxDataBytes + 1));
    parse(first, tooLarge.subarray(0, 1000));
    const frames = parse(new FrameParser(first.discardBytes), tooLarge.subarray(1000), frame(5, 1, 0));
    assert.deepEqual(
      frames.map(({ streamId }) => streamId),
      [5],
    );
  });
});
