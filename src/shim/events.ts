import type { protobuf } from '../wire/index.ts';
import type { EventRecord, ShimRecord } from './record.ts';

export interface OutgoingEvent {
  topic: string;
  payload: protobuf.Any;
}

/** Undelivered events that are kept; beyond it the oldest that are no exits are dropped first, then the oldest exits. */
const maxPendingEvents = 4096;

/** Exits and OOM kills cannot be asked for again later, so they are kept longest. */
const precious = new Set(['/tasks/exit', '/tasks/oom']);

/**
 * The queue between what happens and who is told. An event is in the record before anything else happens, and leaves it
 * when its receiver has acknowledged it.
 */
export class Events {
  readonly #record: ShimRecord;
  readonly #save: () => void;
  readonly #wake: () => void;
  readonly #now: () => bigint;

  constructor(record: ShimRecord, save: () => void, wake: () => void, now: () => bigint) {
    this.#record = record;
    this.#save = save;
    this.#wake = wake;
    this.#now = now;
  }

  publish(event: OutgoingEvent): void {
    if (this.#record.eventsAddress === '') return;
    this.#record.events.push({
      sequence: this.#record.nextEventSequence++,
      topic: event.topic,
      at: this.#now().toString(),
      type: event.payload.typeUrl,
      value: Buffer.from(event.payload.value).toString('base64'),
    });
    this.#bound();
    this.#save();
    this.#wake();
  }

  /** The oldest that is not acknowledged. */
  get first(): EventRecord | undefined {
    return this.#record.events[0];
  }

  get pending(): number {
    return this.#record.events.length;
  }

  /** The receiver has this one. */
  acknowledge(event: EventRecord): void {
    const at = this.#record.events.indexOf(event);
    if (at >= 0) this.#record.events.splice(at, 1);
    if (this.#record.events.length === 0) this.#save();
  }

  #bound(): void {
    while (this.#record.events.length > maxPendingEvents) {
      // The first one may be on its way to the receiver: it stays.
      const at = this.#record.events.findIndex((event, index) => index > 0 && !precious.has(event.topic));
      this.#record.events.splice(at < 0 ? 1 : at, 1);
    }
  }
}
