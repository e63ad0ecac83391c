/** Bytes in front of each frame's data: length (4), stream id (4), type (1), flags (1); numbers are big-endian. */
export const headerBytes = 10;

/** The most data that one frame may carry. */
export const maxDataBytes = 4 * 1024 * 1024;

/** From here on a length's first byte is not zero, and that byte is reserved. */
const lengthLimit = 1 << 24;

export const FrameType = { request: 1, response: 2, data: 3 } as const;

export const Flag = {
  /** The sender is done with this stream. In a request: the caller streams nothing. */
  remoteClosed: 1,
  /** In a request: the caller will stream. */
  remoteOpen: 2,
  /** The frame only brings flags. Without it, no bytes of data are an empty message. */
  noData: 4,
} as const;

/** One frame. Its buffers are views onto the bytes that were pushed. */
export interface Frame {
  readonly streamId: number;
  /** One of FrameType, or a number from the future. */
  readonly type: number;
  readonly flags: number;
  readonly data: Buffer;
  /** The frame whole, header and all. */
  readonly bytes: Buffer;
}

/** The header of a frame whose data is longer than allowed, and passed over. */
export interface OversizedFrame {
  readonly streamId: number;
  readonly type: number;
  readonly flags: number;
  readonly oversizedBytes: number;
}

/** The bytes are no ttRPC. Where the next frame starts cannot be known, so the connection is of no more use. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

const nothing = Buffer.alloc(0);

/**
 * Cuts a stream of bytes into frames. It knows no sockets and no time: push what came, then take frames until there is
 * none. A frame that lies in one piece in what was pushed is not copied.
 *
 * @example
 * parser.push(bytes);
 * for (let frame = parser.next(); frame; frame = parser.next()) handle(frame);
 */
export class FrameParser {
  #chunks: Buffer[] = [];
  /** Of the first chunk, what has been taken already. */
  #offset = 0;
  #available = 0;
  #discard: number;

  /** @param discardBytes data of an oversized frame that is still to come, when a parser continues another's work */
  constructor(discardBytes = 0) {
    this.#discard = discardBytes;
  }

  /** Whether the last byte that was pushed ended a frame, and that frame has been taken. */
  get atBoundary(): boolean {
    return this.#available === 0 && this.#discard === 0;
  }

  /** How much data of an oversized frame is still to come. */
  get discardBytes(): number {
    return this.#discard;
  }

  /** What was pushed and is not taken yet. */
  unparsed(): Buffer {
    return this.#available ? Buffer.concat([this.#first(), ...this.#chunks.slice(1)]) : nothing;
  }

  /** Takes over the bytes: they must not change afterwards. */
  push(bytes: Buffer): void {
    if (this.#discard) {
      const passed = Math.min(this.#discard, bytes.length);
      this.#discard -= passed;
      bytes = bytes.subarray(passed);
    }
    if (!bytes.length) return;
    this.#chunks.push(bytes);
    this.#available += bytes.length;
  }

  /**
   * The next frame, or undefined when more bytes are needed.
   * @throws {FrameError} when the bytes are no ttRPC
   */
  next(): Frame | OversizedFrame | undefined {
    if (this.#available < headerBytes) return undefined;
    const header = this.#peek(headerBytes);
    const length = header.readUInt32BE(0);
    if (length >= lengthLimit) {
      throw new FrameError(`a frame starts with byte ${header[0]}, where ttRPC has a zero`);
    }
    if (length > maxDataBytes) return this.#oversized(header, length);
    if (this.#available < headerBytes + length) return undefined;
    const bytes = this.#peek(headerBytes + length);
    this.#drop(bytes.length);
    return {
      streamId: bytes.readUInt32BE(4),
      type: bytes[8] as number,
      flags: bytes[9] as number,
      data: bytes.subarray(headerBytes),
      bytes,
    };
  }

  #oversized(header: Buffer, length: number): OversizedFrame {
    const frame = {
      streamId: header.readUInt32BE(4),
      type: header[8] as number,
      flags: header[9] as number,
      oversizedBytes: length,
    };
    this.#drop(headerBytes);
    const here = Math.min(length, this.#available);
    this.#drop(here);
    this.#discard = length - here;
    return frame;
  }

  /** The next bytes in one piece, which stay where they are. There must be as many. */
  #peek(count: number): Buffer {
    let first = this.#first();
    if (first.length < count) {
      first = this.unparsed();
      this.#chunks = [first];
      this.#offset = 0;
    }
    return first.length === count ? first : first.subarray(0, count);
  }

  #first(): Buffer {
    const first = this.#chunks[0] ?? nothing;
    return this.#offset ? first.subarray(this.#offset) : first;
  }

  #drop(count: number): void {
    this.#available -= count;
    this.#offset += count;
    let passed = 0;
    for (let first = this.#chunks[0]; first && this.#offset >= first.length; first = this.#chunks[passed]) {
      this.#offset -= first.length;
      passed++;
    }
    if (passed) this.#chunks.splice(0, passed);
  }
}

/** Writes a frame's header over the first bytes of the buffer; the rest of it must be the frame's data. */
export function writeHeader(frame: Buffer, streamId: number, type: number, flags: number): Buffer {
  frame.writeUInt32BE(frame.length - headerBytes, 0);
  frame.writeUInt32BE(streamId, 4);
  frame[8] = type;
  frame[9] = flags;
  return frame;
}
