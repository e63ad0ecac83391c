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
/** How long a shim stays that has nothing to look after, and nobody who could give it something. */
const abandonedMs = 10_000;

/** The idle time before the next sleep, after one that lasted this long: it doubles while requests come often. */
export function nextIdleSeconds(current: number, configured: number, sleptMs: number, wokenByRequest: boolean): number {
  if (!wokenByRequest || sleptMs >= worthwhileSleepMs) return configured;
  return Math.min(Math.max(current, configured) * 2, maxIdleSeconds);
}

/**
 * Looks at a shim in which nothing has happened for a while: it sleeps, or goes, when its manager has died between starting it
 * and giving it a container. One that somebody keeps ready, and has given nothing yet, stays awake: what it is kept for is not to
 * have to wait for it.
 */
export class IdleWatch {
  readonly #context: ShimContext;
  readonly #replacement: Replacement;
  readonly #leave: () => void;
  #lastActivityMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: ShimContext, replacement: Replacement, leave: () => void) {
    this.#context = context;
    this.#replacement = replacement;
    this.#leave = leave;
  }

  /** Something has happened. */
  active(): void {
    this.#lastActivityMs = Date.now();
    if (this.#timer === undefined) this.#schedule(Math.min(this.#idleMs, abandonedMs));
  }

  /** The idle time before a sleep, when no events are pending. */
  get #idleMs(): number {
    const { config, record } = this.#context;
    return config.sleepAfterSeconds === 0 ? Infinity : record.idleSeconds * 1000;
  }

  get #sleepAfterMs(): number {
    return this.#context.events.pending > 0 ? Math.max(awakeForEventsMs, this.#idleMs) : this.#idleMs;
  }

  get #isAbandoned(): boolean {
    const { containers, sandbox } = this.#context.record;
    return containers.length === 0 && sandbox?.state !== 'ready' && !this.#replacement.hasConnections;
  }

  /** It waits for its first sandbox or container. */
  get #isUnused(): boolean {
    const { containers, sandbox, nextEventSequence } = this.#context.record;
    return containers.length === 0 && sandbox === null && nextEventSequence === 1;
  }

  #schedule(milliseconds: number): void {
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#check();
      },
      Math.max(milliseconds, 1000),
    );
  }

  #check(): void {
    const isAbandoned = this.#isAbandoned;
    const wantedMs = isAbandoned ? abandonedMs : this.#isUnused ? Infinity : this.#sleepAfterMs;
    const idleMs = Date.now() - this.#lastActivityMs;
    // Without an end in sight the next activity looks again.
    if (wantedMs === Infinity) return;
    // Events that are pending now may be taken soon, which is no activity: then the usual idle time counts.
    if (idleMs < wantedMs || !this.#replacement.isQuiet) this.#schedule(Math.min(wantedMs - idleMs, this.#idleMs));
    else if (isAbandoned) this.#goAway();
    else this.#sleep();
  }

  #goAway(): void {
    this.#context.log.info('nothing to look after, and nobody there: the shim ends');
    this.#leave();
  }

  #sleep(): void {
    this.#replacement.sleep(this.#context.events.pending > 0 ? wakeForEventsMs : 0).catch((error: unknown) => {
      this.#context.log.warn('the shim stays awake', { error: inspect(error) });
      this.#schedule(this.#sleepAfterMs);
    });
  }
}
