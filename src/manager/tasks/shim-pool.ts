import type { Logger } from 'pino';

export interface ShimPoolOptions<Shim> {
  /** How many wait. */
  readonly size: number;
  readonly isWell: (shim: Shim) => boolean;
  readonly start: (signal: AbortSignal) => Promise<Shim>;
  /** Ends one that is not needed, or is not well. It must not fail. */
  readonly discard: (shim: Shim) => Promise<void>;
  readonly log: Logger;
}

/**
 * How long after the last `take` the pool is filled up, milliseconds: a shim's start takes a processor for 50 ms, which the pod that has
 * just been given one needs itself.
 */
const refillAfterMs = 300;
const retryAfterMs = 5000;

/** Shims that wait, started, for the next pods. Filled up in the background, one at a time. */
export class ShimPool<Shim> {
  readonly #options: ShimPoolOptions<Shim>;
  readonly #ready: Shim[] = [];
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #filling: Promise<void> | undefined;
  #isAwaited = false;

  constructor(options: ShimPoolOptions<Shim>) {
    this.#options = options;
    this.#fillAfter(refillAfterMs);
  }

  /** How many wait now. */
  get ready(): number {
    return this.#ready.length;
  }

  /** One that waits, or that is just being started for the pool; undefined when there is none. */
  async take(): Promise<Shim | undefined> {
    this.#fillAfter(refillAfterMs);
    if (this.#ready.length === 0 && !this.#isAwaited) await this.#filled();
    for (let shim = this.#ready.shift(); shim !== undefined; shim = this.#ready.shift()) {
      if (this.#options.isWell(shim)) return shim;
      await this.#options.discard(shim);
    }
    return undefined;
  }

  /** Ends those that wait, and that which is being started. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    await this.#filling;
    await Promise.all(this.#ready.splice(0).map((shim) => this.#options.discard(shim)));
  }

  /** It is ready before one that would be started now; but it is good for one pod only. */
  async #filled(): Promise<void> {
    this.#isAwaited = true;
    await this.#filling;
    this.#isAwaited = false;
  }

  #fillAfter(milliseconds: number): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted || this.#options.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#filling ??= this.#fill().then((againMs) => {
        this.#filling = undefined;
        if (againMs !== undefined) this.#fillAfter(againMs);
      });
    }, milliseconds);
  }

  /** Starts one if it is wanted. Gives when to look again, milliseconds; undefined: no sooner than somebody takes one. */
  async #fill(): Promise<number | undefined> {
    const { size, start, log } = this.#options;
    if (this.#ready.length >= size) return undefined;
    try {
      this.#ready.push(await start(this.#closing.signal));
      return this.#ready.length < size ? 0 : undefined;
    } catch (error) {
      if (this.#closing.signal.aborted) return undefined;
      log.warn({ err: error }, 'no shim could be started for the pool');
      return retryAfterMs;
    }
  }
}
