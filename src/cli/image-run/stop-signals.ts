import type { Context } from '../context.ts';
import type { Daemon } from '../daemon.ts';
import { ExitCode } from '../exit-codes.ts';
import { messageOf } from '../failure.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const killMs = 60_000;

/**
 * Hands Ctrl-C and the like on to the container as a stop; the second time it is killed. Before there is a container, they ask through
 * the signal that what is made be undone; the third time is the last.
 */
export class StopSignals {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #context: Context;
  readonly #daemon: Daemon;
  readonly #graceMs: number;
  #containerId: string | undefined;
  #count = 0;

  constructor(context: Context, daemon: Daemon, graceMs: number) {
    this.#context = context;
    this.#daemon = daemon;
    this.#graceMs = graceMs;
    this.signal = this.#controller.signal;
    for (const signal of signals) process.on(signal, this.#take);
    // Who read the output has gone, so nobody waits for the container either.
    context.stdout.whenUnread = this.#take;
    context.stderr.whenUnread = this.#take;
  }

  /** From now on the container is what is to be stopped. */
  guard(containerId: string): void {
    this.#containerId = containerId;
    if (this.#count > 0) void this.#stop(containerId, 0);
  }

  /** Lets signals end the process again. */
  close(): void {
    for (const signal of signals) process.off(signal, this.#take);
  }

  readonly #take = () => {
    this.#count += 1;
    if (this.#count > 2) process.exit(ExitCode.Interrupted);
    this.#controller.abort();
    if (this.#containerId !== undefined) void this.#stop(this.#containerId, this.#count > 1 ? 0 : this.#graceMs);
  };

  async #stop(containerId: string, graceMs: number): Promise<void> {
    const request = { containerId, timeout: BigInt(Math.ceil(graceMs / 1000)) };
    try {
      await this.#daemon.runtime('cannot stop the container', 'StopContainer', request, { deadline: graceMs + killMs });
    } catch (error) {
      this.#context.say(`berthctl: ${messageOf(error)}`);
    }
  }
}
