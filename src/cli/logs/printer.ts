import type { Sink } from '../context.ts';
import { parseRecord } from './record.ts';

export interface LogForm {
  readonly timestamps?: boolean;
  /** Milliseconds since 1970; what is older is left out. */
  readonly since?: number | undefined;
  /** Milliseconds since 1970; what is newer is left out, and nothing follows it. */
  readonly until?: number | undefined;
  /** Of contents and timestamps together. */
  readonly limitBytes?: number | undefined;
  readonly only?: 'stdout' | 'stderr' | undefined;
}

const lineEnd = Buffer.from('\n');

/** Writes records to where the container wrote them. */
export class LogPrinter {
  readonly #sinks: { readonly stdout: Sink; readonly stderr: Sink };
  readonly #form: LogForm;
  #left: number;
  /** Streams whose last record was partial: no timestamp goes into the middle of a line. */
  readonly #inLine = new Set<string>();

  constructor(sinks: { readonly stdout: Sink; readonly stderr: Sink }, form: LogForm = {}) {
    this.#sinks = sinks;
    this.#form = form;
    this.#left = form.limitBytes ?? Number.POSITIVE_INFINITY;
  }

  /** False when nothing more will be written. Lines that are no records are shown as they are, on stdout. */
  async print(lines: readonly Buffer[]): Promise<boolean> {
    const pieces: Record<'stdout' | 'stderr', Buffer[]> = { stdout: [], stderr: [] };
    let more = true;
    let current: 'stdout' | 'stderr' | undefined;
    const flush = () => {
      if (current === undefined) return;
      const all = pieces[current];
      if (all.length > 0) this.#sinks[current].write(Buffer.concat(all));
      pieces[current] = [];
    };
    for (const line of lines) {
      const taken = this.#pieces(line);
      if (taken === 'end') more = false;
      if (taken === 'end') break;
      if (taken === undefined) continue;
      // In the order in which they were written, for those who see both.
      if (current !== taken.stream) flush();
      current = taken.stream;
      for (const piece of taken.pieces) {
        const fits = piece.subarray(0, this.#left);
        pieces[taken.stream].push(fits);
        this.#left -= fits.length;
      }
      if (this.#left <= 0) more = false;
      if (!more) break;
    }
    flush();
    await Promise.all([this.#sinks.stdout.drained(), this.#sinks.stderr.drained()]);
    return more;
  }

  #pieces(line: Buffer): { stream: 'stdout' | 'stderr'; pieces: Buffer[] } | 'end' | undefined {
    const record = parseRecord(line);
    if (record === undefined) return line.length === 0 ? undefined : { stream: 'stdout', pieces: [line, lineEnd] };
    const { stream, partial, time, content } = record;
    const { since, until, only, timestamps } = this.#form;
    if (since !== undefined && Date.parse(time) < since) return undefined;
    if (until !== undefined && Date.parse(time) > until) return 'end';
    const begins = !this.#inLine.has(stream);
    if (partial) this.#inLine.add(stream);
    else this.#inLine.delete(stream);
    if (only !== undefined && only !== stream) return undefined;
    const pieces = timestamps === true && begins ? [Buffer.from(`${time} `), content] : [content];
    if (!partial) pieces.push(lineEnd);
    return { stream, pieces };
  }
}
