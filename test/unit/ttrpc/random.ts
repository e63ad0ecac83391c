/** Pseudo-random numbers that a seed determines (xorshift32), so that a failure can be repeated. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** From 0 up to, not including, the limit. */
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % limit;
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  fill(bytes: Buffer): Buffer {
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.below(256);
    return bytes;
  }

  bytes(count: number): Buffer {
    return this.fill(Buffer.alloc(count));
  }
}

/** The seed to use: BERTH_FUZZ_SEED, or a new one. */
export function fuzzSeed(): number {
  const given = process.env.BERTH_FUZZ_SEED;
  return given ? Number(given) : (Date.now() ^ (process.pid << 16)) >>> 0;
}
