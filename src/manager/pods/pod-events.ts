import { nowNanoseconds } from '../../wire/index.ts';

/** What GetContainerEvents tells; the names are those of CRI's ContainerEventType, without its suffix. */
export type PodEventType = 'created' | 'started' | 'stopped' | 'deleted';

export interface PodEvent {
  readonly type: PodEventType;
  /** A container's id, or the sandbox's own. */
  readonly id: string;
  readonly sandboxId: string;
  /** Nanoseconds since the epoch. */
  readonly at: bigint;
}

/** Beyond this many untold events a subscriber that does not read is let go. */
const maxWaiting = 10_000;

/** Tells those who listen now what happens to pods and containers. Nothing is kept: the journal is for those who were away. */
export class PodEvents {
  readonly #subscribers = new Set<(event: PodEvent) => void>();

  tell(type: PodEventType, sandboxId: string, id: string): void {
    const event = { type, id, sandboxId, at: nowNanoseconds() };
    for (const take of this.#subscribers) take(event);
  }

  /** What happens from this call on, until the signal. Ends early for a subscriber that falls too far behind. */
  subscribe(signal: AbortSignal): AsyncIterable<PodEvent> {
    const waiting: PodEvent[] = [];
    let wake: () => void = () => undefined;
    const take = (event: PodEvent) => {
      waiting.push(event);
      if (waiting.length > maxWaiting) this.#subscribers.delete(take);
      wake();
    };
    this.#subscribers.add(take);
    const stop = () => {
      this.#subscribers.delete(take);
      wake();
    };
    signal.addEventListener('abort', stop);
    if (signal.aborted) stop();
    const isSubscribed = () => this.#subscribers.has(take);
    return (async function* () {
      try {
        for (;;) {
          for (let event = waiting.shift(); event !== undefined; event = waiting.shift()) yield event;
          if (!isSubscribed()) return;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        stop();
        signal.removeEventListener('abort', stop);
      }
    })();
  }
}
