/** The bytes are no message of the type that was asked for; the text says what is wrong and where. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
}

/** How deep groups and messages may lie in each other. */
export const maxDepth = 100;

/** Reads protobuf's wire format. Bytes that end too early, and numbers that are too long, give a DecodeError. */
export class Reader {
  readonly #bytes: Buffer;
  /** Where the current message ends; reading stops there. */
  end: number;
  position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.end = bytes.length;
  }

  /** The low 32 bits of a varint, unsigned. */
  uint32(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte();
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new DecodeError(`a number before byte ${this.position} has more than ten bytes`);
  }

  bool(): boolean {
    return this.uint64() !== 0n;
  }

  uint64(): bigint {
    let low = 0;
    let middle = 0;
    let high = 0;
    for (let index = 0; index < 10; index++) {
      const byte = this.#byte();
      const bits = byte & 0x7f;
      if (index < 4) low += bits * 2 ** (7 * index);
      else if (index < 8) middle += bits * 2 ** (7 * (index - 4));
      else high += bits * 2 ** (7 * (index - 8));
      if (byte >= 0x80) continue;
      if (index < 4) return BigInt(low);
      return BigInt.asUintN(64, BigInt(low) | (BigInt(middle) << 28n) | (BigInt(high) << 56n));
    }
    throw new DecodeError(`a number before byte ${this.position} has more than ten bytes`);
  }

  int64(): bigint {
    return BigInt.asIntN(64, this.uint64());
  }

  double(): number {
    return this.#bytes.readDoubleLE(this.#advance(8));
  }

  string(): string {
    const size = this.uint32();
    const start = this.#advance(size);
    return this.#bytes.toString('utf8', start, start + size);
  }

  /** A view onto the bytes that are being read, not a copy. */
  bytes(): Buffer {
    const size = this.uint32();
    const start = this.#advance(size);
    return this.#bytes.subarray(start, start + size);
  }

  /** Enters a length-delimited value: reading ends at its end. Give what this returns to `leave`. */
  enter(): number {
    const size = this.uint32();
    const outer = this.end;
    if (size > outer - this.position) throw this.#tooShort(size);
    this.end = this.position + size;
    return outer;
  }

  leave(outer: number): void {
    this.end = outer;
  }

  /** Passes over a field that nobody knows. */
  skip(tag: number, depth = 0): void {
    switch (tag & 7) {
      case 0:
        this.uint32();
        return;
      case 1:
        this.#advance(8);
        return;
      case 2:
        this.#advance(this.uint32());
        return;
      case 3: {
        if (depth >= maxDepth) throw new DecodeError(`groups lie more than ${maxDepth} deep`);
        for (;;) {
          const inner = this.uint32();
          if ((inner & 7) === 4) {
            if (inner >>> 3 === tag >>> 3) return;
            throw new DecodeError(`group ${tag >>> 3} is ended as group ${inner >>> 3}`);
          }
          this.skip(inner, depth + 1);
        }
      }
      case 5:
        this.#advance(4);
        return;
      default:
        throw new DecodeError(`field ${tag >>> 3} before byte ${this.position} has no known wire type (${tag & 7})`);
    }
  }

  #byte(): number {
    if (this.position >= this.end) throw this.#tooShort(1);
    return this.#bytes[this.position++] as number;
  }

  #advance(count: number): number {
    if (count > this.end - this.position) throw this.#tooShort(count);
    const start = this.position;
    this.position += count;
    return start;
  }

  #tooShort(count: number): DecodeError {
    return new DecodeError(
      `${count} bytes are announced at byte ${this.position}, but only ${this.end - this.position} follow`,
    );
  }
}
