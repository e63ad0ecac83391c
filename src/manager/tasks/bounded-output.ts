/** Keeps the first bytes, and takes the others all the same. */
export class BoundedOutput {
  readonly #pieces: Buffer[] = [];
  readonly #limit: number;
  #length = 0;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  add(bytes: Buffer): void {
    const room = this.#limit - this.#length;
    if (room <= 0) return;
    const kept = bytes.length > room ? bytes.subarray(0, room) : bytes;
    this.#pieces.push(kept);
    this.#length += kept.length;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#pieces);
  }

  get text(): string {
    return this.bytes.toString();
  }
}
