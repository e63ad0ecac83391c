/** Bytes that a new writer starts with, and up to which a used buffer is kept for the next one. */
const scratchBytes = 4096;

/** The buffer of the last finished writer, so that encoding a small message allocates nothing but its result. */
let spare: Buffer | undefined;

/**
 * Writes protobuf's wire format into one growing buffer.
 *
 * A length goes in front of what it measures, so one byte is reserved for it and the content is moved up in the rare
 * case that 128 bytes or more follow. Use a writer once, and let `finish` be the last call.
 */
export class Writer {
  #bytes: Buffer;
  #length = 0;

  constructor() {
    this.#bytes = spare ?? Buffer.allocUnsafeSlow(scratchBytes);
    spare = undefined;
  }

  /** How many bytes have been written. */
  get length(): number {
    return this.#length;
  }

  /** A copy of what was written; the writer is of no use afterwards. */
  finish(): Buffer {
    const written = Buffer.allocUnsafe(this.#length);
    this.#bytes.copy(written, 0, 0, this.#length);
    if (this.#bytes.length === scratchBytes) spare = this.#bytes;
    return written;
  }

  /** Leaves room for bytes that the caller fills in after `finish`; their content is undefined until then. */
  skip(count: number): void {
    this.#reserve(count);
    this.#length += count;
  }

  /** Opens a length-delimited value; `close` takes what this returns. */
  open(): number {
    this.#reserve(1);
    return this.#length++;
  }

  /** Ends the value that `open` began: everything written since is its content. */
  close(mark: number): void {
    const start = mark + 1;
    const size = this.#length - start;
    if (size >= 0x80) {
      const extra = varintBytes(size) - 1;
      this.#reserve(extra);
      this.#bytes.copyWithin(start + extra, start, this.#length);
    }
    const end = this.#length + varintBytes(size) - 1;
    this.#length = mark;
    this.uint32(size);
    this.#length = end;
  }

  /** An unsigned varint of up to 32 bits. */
  uint32(value: number): void {
    this.#reserve(5);
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
  }

  /** A signed varint of 32 bits: a negative one takes ten bytes, as the format asks. */
  int32(value: number): void {
    if (value >= 0) this.uint32(value);
    else this.varint64(BigInt(value | 0));
  }

  /** A varint of 64 bits, signed or not. */
  varint64(value: bigint): void {
    this.#reserve(10);
    let rest = BigInt.asUintN(64, value);
    while (rest > 0x7fn) {
      this.#bytes[this.#length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#bytes[this.#length++] = Number(rest);
  }

  double(value: number): void {
    this.#reserve(8);
    this.#bytes.writeDoubleLE(value, this.#length);
    this.#length += 8;
  }

  /** A length and the text in UTF-8. */
  string(value: string): void {
    const mark = this.open();
    this.#reserve(value.length * 3);
    this.#length += this.#bytes.write(value, this.#length);
    this.close(mark);
  }

  /** A length and the bytes. */
  bytes(value: Uint8Array): void {
    this.uint32(value.length);
    this.append(value);
  }

  /** The bytes as they are. */
  append(value: Uint8Array): void {
    this.#reserve(value.length);
    this.#bytes.set(value, this.#length);
    this.#length += value.length;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(grown, 0, 0, this.#length);
    this.#bytes = grown;
  }
}

function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x200000) return 3;
  return value < 0x10000000 ? 4 : 5;
}
