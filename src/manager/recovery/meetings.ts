import { setTimeout as sleep } from 'node:timers/promises';
import type { PodShims } from '../pods/index.ts';

/** How many shims are met at once: each that sleeps has to wake for it, and all together would leave no processor to serve with. */
const lanes = 4;
/** A shim that takes longer does not hold up those after it. */
const slowMs = 250;

/** The order in which the shims of an earlier daemon are met: those that somebody waits for first. */
export class Meetings {
  readonly #shims: PodShims;
  readonly #meet: (sandboxId: string) => Promise<void>;
  readonly #waiting = new Set<string>();
  readonly #begun: Promise<void>[] = [];
  readonly #over = new Map<string, () => void>();

  /** @param meet resolves when it is known what has become of a shim; it must not reject */
  constructor(shims: PodShims, meet: (sandboxId: string) => Promise<void>) {
    this.#shims = shims;
    this.#meet = meet;
  }

  /** One more to be met: at once, which is then waited for, or when it is its turn. */
  async expect(sandboxId: string, urgent: boolean): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#over.set(sandboxId, () => resolve(undefined));
    this.#waiting.add(sandboxId);
    this.#shims.expect(sandboxId, promise, () => void this.#begin(sandboxId));
    if (!urgent) return;
    void this.#begin(sandboxId);
    await promise;
  }

  /** The shim is here, or is known to be gone: whoever waits for it goes on. */
  over(sandboxId: string): void {
    this.#over.get(sandboxId)?.();
    this.#over.delete(sandboxId);
  }

  /** Meets all that are still to be met; resolves when all meetings have ended, also those that were begun before. */
  async all(): Promise<void> {
    await Promise.all(Array.from({ length: lanes }, () => this.#oneAfterTheOther()));
    await Promise.all(this.#begun);
  }

  async #oneAfterTheOther(): Promise<void> {
    for (const sandboxId of this.#waiting) await Promise.race([this.#begin(sandboxId), sleep(slowMs)]);
  }

  async #begin(sandboxId: string): Promise<void> {
    if (!this.#waiting.delete(sandboxId)) return;
    const meeting = this.#meet(sandboxId);
    this.#begun.push(meeting);
    await meeting;
  }
}
