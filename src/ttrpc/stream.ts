import { type Channel, Hold } from './channel.ts';
import { Code, TtrpcError } from './status.ts';

/** How many messages of a stream may wait for whoever consumes them, as in Go's ttRPC. */
const maxWaiting = 64;

/** How long the connection waits for a consumer that has so many waiting, before it gives that stream up. */
const stallMs = 1000;

/**
 * The messages of one stream, on their way to whoever iterates over them; one consumer at a time.
 *
 * A consumer that is too slow makes the connection wait, but not for ever, since all other calls wait with it.
 */
export class StreamInbox<T> implements AsyncIterableIterator<T> {
  readonly #channel: Channel;
  readonly #decode: (bytes: Buffer) => T;
  readonly #overflow: (error: TtrpcError) => void;
  #waiting: Buffer[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #abandoned = false;
  #error: TtrpcError | undefined;
  #stall: NodeJS.Timeout | undefined;

  /** @param overflow told when the stream has to be given up */
  constructor(channel: Channel, decode: (bytes: Buffer) => T, overflow: (error: TtrpcError) => void) {
    this.#channel = channel;
    this.#decode = decode;
    this.#overflow = overflow;
  }

  /** No message may follow. */
  get isEnded(): boolean {
    return this.#ended;
  }

  push(bytes: Buffer): void {
    if (this.#abandoned) return;
    this.#waiting.push(bytes);
    this.#notify();
    if (this.#waiting.length < maxWaiting || this.#stall) return;
    this.#channel.hold(Hold.stream);
    this.#stall = setTimeout(() => {
      this.#overflow(new TtrpcError(Code.ResourceExhausted, 'ttrpc: stream buffer full'));
    }, stallMs);
  }

  /** What was pushed is still delivered. */
  end(): void {
    this.#ended = true;
    this.#notify();
  }

  /** The consumer gets the error instead of what waits. */
  fail(error: TtrpcError): void {
    this.#error ??= error;
    this.#ended = true;
    this.#drop();
    this.#notify();
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      if (this.#error) throw this.#error;
      const bytes = this.#waiting.shift();
      if (bytes) {
        if (this.#waiting.length < maxWaiting / 2) this.#unstall();
        return { done: false, value: this.#decode(bytes) };
      }
      if (this.#ended || this.#abandoned) return { done: true, value: undefined };
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** The consumer wants no more; what still comes is passed over. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#abandoned = true;
    this.#drop();
    this.#notify();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #drop(): void {
    this.#waiting = [];
    this.#unstall();
  }

  #unstall(): void {
    if (!this.#stall) return;
    clearTimeout(this.#stall);
    this.#stall = undefined;
    this.#channel.release(Hold.stream);
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
