/** Lets work on one pod follow work on it, work on others go on at once, and some work be alone. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();
  readonly #running = new Set<Promise<unknown>>();
  #alone: Promise<unknown> | undefined;

  /** Runs `work` when all that asked for the key before, and what is alone, has ended; gives what it gives. */
  async shared<T>(key: string, work: () => Promise<T>): Promise<T> {
    while (this.#alone !== undefined) await this.#alone;
    const run = (this.#last.get(key) ?? Promise.resolve()).then(work);
    const settled = run.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    this.#running.add(settled);
    try {
      return await run;
    } finally {
      this.#running.delete(settled);
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }

  /** Runs `work` when all that has begun has ended; what asks meanwhile waits for its end. */
  async alone(work: () => Promise<void>): Promise<void> {
    while (this.#alone !== undefined) await this.#alone;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#alone = promise;
    try {
      await Promise.all(this.#running);
      await work();
    } finally {
      this.#alone = undefined;
      resolve(undefined);
    }
  }
}
