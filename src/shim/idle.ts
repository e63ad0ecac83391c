import { inspect } from 'node:util';
import type { ShimContext } from './context.ts';
import type { Replacement } from './replacement.ts';

/** A sleep that a request ends sooner than this was not worth it: the next one begins later. */
const worthwhileSleepMs = 60_000;
const maxIdleSeconds = 600;
/** Events that nobody takes are tried for this long before the shim sleeps in spite of them, */
const awakeForEventsMs = 60_000;
/** and then this often. (A manager that starts connects to its shims, which wakes them at once.) */
const wakeForEventsMs = 60_000;

/** The idle time before the next sleep, after one that lasted this long: it doubles while requests come often. */
export function nextIdleSeconds(current: number, configured: number, sleptMs: number, wokenByRequest: boolean): number {
  if (!wokenByRequest || sleptMs >= worthwhileSleepMs) return configured;
  return Math.min(Math.max(current, configured) * 2, maxIdleSeconds);
}

/** Sends the shim to sleep when nothing has happened for a while. */
export class IdleWatch {
  readonly #context: ShimContext;
  readonly #replacement: Replacement;
  #lastActivityMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: ShimContext, replacement: Replacement) {
    this.#context = context;
    this.#replacement = replacement;
  }

  /** Something has happened. */
  active(): void {
    this.#lastActivityMs = Date.now();
    if (this.#timer === undefined && this.#context.config.sleepAfterSeconds > 0) this.#schedule(this.#idleMs);
  }

  get #idleMs(): number {
    return this.#context.record.idleSeconds * 1000;
  }

  #schedule(milliseconds: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#check();
    }, milliseconds);
  }

  #check(): void {
    const { events } = this.#context;
    const idleMs = Date.now() - this.#lastActivityMs;
    const wantedMs = events.pending > 0 ? Math.max(awakeForEventsMs, this.#idleMs) : this.#idleMs;
    if (idleMs < wantedMs || !this.#replacement.isQuiet) {
      this.#schedule(Math.max(wantedMs - idleMs, 1000));
      return;
    }
    this.#replacement.sleep(events.pending > 0 ? wakeForEventsMs : 0).catch((error: unknown) => {
      this.#context.log.warn('the shim stays awake', { error: inspect(error) });
      this.#schedule(this.#idleMs);
    });
  }
}
