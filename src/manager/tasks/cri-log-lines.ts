/** A longer line is cut into entries of this many bytes. */
const maxLineBytes = 16 * 1024;

const newline = 0x0a;
const carriageReturn = 0x0d;
const end = Buffer.from('\n');

/**
 * Turns the output of one stream into entries of the CRI log format: "TIME STREAM TAG TEXT". Tag F ends a line, P says that it goes on
 * in the next entry of the stream. As containerd writes it: a carriage return before the newline is dropped, and what follows the last
 * newline when the output ends has tag P.
 */
export class CriLogLines {
  readonly #stream: 'stdout' | 'stderr';
  #held: Buffer = Buffer.alloc(0);

  constructor(stream: 'stdout' | 'stderr') {
    this.#stream = stream;
  }

  /** The entries that are complete now. @param unixNanos when the bytes came */
  add(bytes: Buffer, unixNanos: bigint): Buffer {
    const entries: Buffer[] = [];
    const time = criTime(unixNanos);
    let rest = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    for (let at = rest.indexOf(newline); at >= 0; at = rest.indexOf(newline)) {
      let line = rest.subarray(0, at > 0 && rest[at - 1] === carriageReturn ? at - 1 : at);
      while (line.length > maxLineBytes) {
        this.#entry(entries, time, 'P', line.subarray(0, maxLineBytes));
        line = line.subarray(maxLineBytes);
      }
      this.#entry(entries, time, 'F', line);
      rest = rest.subarray(at + 1);
    }
    // A carriage return just past the limit may be followed by its newline.
    while (rest.length > maxLineBytes + 1 || (rest.length > maxLineBytes && rest.at(-1) !== carriageReturn)) {
      this.#entry(entries, time, 'P', rest.subarray(0, maxLineBytes));
      rest = rest.subarray(maxLineBytes);
    }
    this.#held = Buffer.from(rest);
    return Buffer.concat(entries);
  }

  /** The output has ended: the entry of what is left, if anything is. */
  end(unixNanos: bigint): Buffer {
    const entries: Buffer[] = [];
    if (this.#held.length > 0) this.#entry(entries, criTime(unixNanos), 'P', this.#held);
    this.#held = Buffer.alloc(0);
    return Buffer.concat(entries);
  }

  #entry(entries: Buffer[], time: string, tag: 'P' | 'F', text: Buffer): void {
    entries.push(Buffer.from(`${time} ${this.#stream} ${tag} `), text, end);
  }
}

/** RFC 3339 with nanoseconds, UTC. */
export function criTime(unixNanos: bigint): string {
  const seconds = new Date(Number(unixNanos / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${(unixNanos % 1_000_000_000n).toString().padStart(9, '0')}Z`;
}
