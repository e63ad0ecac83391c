/** Counts what is under way and must come to its end before the program image can be replaced or the shim may sleep. */
export class Activity {
  #running = 0;
  #waiters: (() => void)[] = [];

  get isIdle(): boolean {
    return this.#running === 0;
  }

  /** Counts the promise until it settles; returns it. */
  async track<T>(promise: Promise<T>): Promise<T> {
    this.#running++;
    try {
      return await promise;
    } finally {
      if (--this.#running === 0) for (const resolve of this.#waiters.splice(0)) resolve();
    }
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#waiters.push(resolve);
      });
    }
  }
}
