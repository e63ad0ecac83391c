import type { NetworkConf } from './network-conf.ts';

const staleMilliseconds = 10_000;

/** Remembers what plugins say of their readiness, since asking takes processes and those who want to know do not wait. */
export class StatusProbe {
  readonly #status: (network: NetworkConf) => Promise<void>;
  #problem: string | undefined;
  #askedAt = -Infinity;
  #asking: Promise<void> | undefined;
  #asked: readonly NetworkConf[] = [];

  /** @param status rejects when the network's plugins are not ready */
  constructor(status: (network: NetworkConf) => Promise<void>) {
    this.#status = status;
  }

  /** What keeps plugins from their work, as far as it is known; asks again in the background when that was long ago. */
  problem(networks: readonly NetworkConf[]): string | undefined {
    if (performance.now() - this.#askedAt > staleMilliseconds) void this.ask(networks);
    return this.#problem;
  }

  /** Asks now. */
  ask(networks: readonly NetworkConf[]): Promise<void> {
    this.#askedAt = performance.now();
    if (this.#asking !== undefined && this.#asked === networks) return this.#asking;
    this.#asked = networks;
    const asking = this.#ask(networks).then((problem) => {
      if (this.#asked !== networks) return; // the networks are others by now
      this.#problem = problem;
      this.#asking = undefined;
    });
    this.#asking = asking;
    return asking;
  }

  /** The networks are others now. */
  forget(): void {
    this.#asked = [];
    this.#asking = undefined;
    this.#problem = undefined;
    this.#askedAt = -Infinity;
  }

  async #ask(networks: readonly NetworkConf[]): Promise<string | undefined> {
    try {
      for (const network of networks) await this.#status(network);
      return undefined;
    } catch (error) {
      return (error as Error).message;
    }
  }
}
