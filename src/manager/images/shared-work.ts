/**
 * Work that several callers want at the same time is done once. It is given up when the last of them no longer waits.
 *
 * ```ts
 * const record = await pulls.join(name, callerSignal, (signal) => pull(name, signal));
 * ```
 */
export class SharedWork<T> {
  readonly #running = new Map<string, { result: Promise<T>; waiting: number; abort: AbortController }>();

  get size(): number {
    return this.#running.size;
  }

  /**
   * Waits for the work of that name, and starts it when it is not under way. `signal` ends this caller's wait, with its reason.
   * The work's own signal is aborted when nobody waits any more.
   */
  async join(name: string, signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    const shared = this.#running.get(name) ?? this.#start(name, work);
    shared.waiting++;
    let leave: (() => void) | undefined;
    try {
      if (signal === undefined) return await shared.result;
      const left = new Promise<never>((_, reject) => {
        leave = () => reject(signal.reason as Error);
        signal.addEventListener('abort', leave, { once: true });
      });
      return await Promise.race([shared.result, left]);
    } finally {
      if (leave !== undefined) signal?.removeEventListener('abort', leave);
      if (--shared.waiting === 0 && this.#running.get(name) === shared) {
        // A caller that comes now starts anew instead of joining what is being given up.
        this.#running.delete(name);
        shared.abort.abort(new DOMException('nobody waits for it any more', 'AbortError'));
      }
    }
  }

  #start(name: string, work: (signal: AbortSignal) => Promise<T>) {
    const abort = new AbortController();
    const shared = { result: work(abort.signal), waiting: 0, abort };
    this.#running.set(name, shared);
    const over = () => {
      if (this.#running.get(name) === shared) this.#running.delete(name);
    };
    shared.result.then(over, over);
    return shared;
  }
}
