import type { StatementSync } from 'node:sqlite';
import { Code, RpcError } from '../../grpc/index.ts';
import type { Store } from '../store/index.ts';
import type { EventOrigin, JournalEvent, NewEvent } from './journal-event.ts';

/** How many events a subscriber takes from the table at once. */
const batchSize = 256;

/** Events that a subscriber has still to read stay for so many times as long; then the subscriber is told that it has lost. */
const patience = 4n;

export interface SubscribeOptions {
  /** The number of the last event that the subscriber has seen; 0: everything that is kept; absent: what happens from now on. */
  readonly after?: bigint | undefined;
  /** Ends the subscription. */
  readonly signal: AbortSignal;
  /** Whether to wait for more when all that was there at the call has been given. */
  readonly follow: boolean;
}

interface Subscriber {
  position: bigint;
}

/**
 * All that happens to containers, numbered, in the store: an event is there when `append` has returned and its transaction, if it is part
 * of one, has been committed. A subscriber reads the table at its own pace, so it can neither hold up who appends nor miss an event.
 */
export class EventJournal {
  readonly #store: Store;
  readonly #kept: bigint;
  readonly #pruneEvery: number;
  readonly #insert: StatementSync;
  readonly #from: StatementSync;
  readonly #bounds: StatementSync;
  readonly #prune: StatementSync;
  readonly #mark: StatementSync;
  readonly #setMark: StatementSync;
  readonly #dropMark: StatementSync;
  readonly #subscribers = new Set<Subscriber>();
  readonly #waiting = new Set<() => void>();
  #appendsSincePruned = 0;
  #wakes = false;
  #closed = false;

  /** @param kept how many events stay at least */
  constructor(store: Store, kept: number) {
    this.#store = store;
    this.#kept = BigInt(kept);
    this.#pruneEvery = Math.max(1, Math.min(1000, Math.floor(kept / 10)));
    const { database } = store;
    database.exec(`
      CREATE TABLE IF NOT EXISTS events (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, namespace TEXT NOT NULL, topic TEXT NOT NULL,
        container_id TEXT NOT NULL, sandbox_id TEXT NOT NULL, type_url TEXT NOT NULL, value BLOB NOT NULL
      ) STRICT;
      CREATE TABLE IF NOT EXISTS event_marks (sandbox_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL) STRICT;
    `);
    this.#insert = database.prepare(
      `INSERT INTO events (at, namespace, topic, container_id, sandbox_id, type_url, value) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    );
    this.#insert.setReadBigInts(true);
    this.#from = database.prepare(
      'SELECT * FROM events WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?',
    );
    this.#from.setReadBigInts(true);
    this.#bounds = database.prepare(`
      SELECT (SELECT min(sequence) FROM events) AS first,
             (SELECT seq FROM sqlite_sequence WHERE name = 'events') AS last`);
    this.#bounds.setReadBigInts(true);
    this.#prune = database.prepare('DELETE FROM events WHERE sequence <= ?');
    this.#mark = database.prepare('SELECT sequence FROM event_marks WHERE sandbox_id = ?');
    this.#setMark = database.prepare(
      'INSERT INTO event_marks VALUES (?, ?) ON CONFLICT (sandbox_id) DO UPDATE SET sequence = excluded.sequence',
    );
    this.#dropMark = database.prepare('DELETE FROM event_marks WHERE sandbox_id = ?');
    this.#pruneOld();
  }

  /** The number of the newest event; 0 before the first one. */
  get last(): bigint {
    return this.#range().last;
  }

  /**
   * Writes down what has happened; it may be part of a transaction of the store. Subscribers see it when that is committed.
   * Returns its number; undefined for what its shim has told before.
   */
  append(event: NewEvent, origin?: EventOrigin): bigint | undefined {
    const sequence = this.#store.transaction(() => {
      if (origin !== undefined) {
        if (this.isKnown(origin)) return undefined;
        this.#setMark.run(origin.sandboxId, origin.sequence);
      }
      const { at, namespace, topic, containerId, sandboxId } = event;
      const { typeUrl, value } = event.event;
      const { lastInsertRowid } = this.#insert.run(at, namespace, topic, containerId, sandboxId, typeUrl, value);
      if (++this.#appendsSincePruned >= this.#pruneEvery) this.#pruneOld();
      return BigInt(lastInsertRowid);
    });
    this.#wake();
    return sequence;
  }

  /** Whether that shim's event has been taken. */
  isKnown({ sandboxId, sequence }: EventOrigin): boolean {
    const mark = this.#mark.get(sandboxId);
    return mark !== undefined && sequence <= (mark['sequence'] as number);
  }

  /** Of a sandbox that is gone: its shim tells nothing any more. Its events stay. */
  forget(sandboxId: string): void {
    this.#dropMark.run(sandboxId);
  }

  /**
   * Every event from a place on exactly once, in order: what is kept, then what happens. The place is taken at this call.
   * @throws {RpcError} OUT_OF_RANGE when events after that number are no longer kept, or the number has not been given yet;
   * from the iteration, when a subscriber is so slow that what it has not read yet had to go
   */
  subscribe({ after, signal, follow }: SubscribeOptions): AsyncIterable<JournalEvent> {
    const { first, last } = this.#range();
    if (after !== undefined && after > last) {
      throw new RpcError(
        Code.OutOfRange,
        `there is no event ${after} yet: the newest is ${last}; subscribe after that one`,
      );
    }
    if (after !== undefined && after > 0n && after < first - 1n) throw lost(after, first);
    const position = after === undefined ? last : after > first - 1n ? after : first - 1n;
    return this.#read({ position }, follow ? undefined : last, signal);
  }

  /** Ends all subscriptions; the store can be closed then. */
  close(): void {
    this.#closed = true;
    this.#notify();
  }

  async *#read(
    subscriber: Subscriber,
    until: bigint | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<JournalEvent, void> {
    const most = until ?? 2n ** 62n;
    this.#subscribers.add(subscriber);
    try {
      while (!signal.aborted && !this.#closed) {
        const rows = this.#from.all(subscriber.position, most, batchSize);
        for (const row of rows) {
          const event = fromRow(row);
          if (event.sequence !== subscriber.position + 1n) throw lost(subscriber.position, event.sequence);
          yield event;
          subscriber.position = event.sequence;
          if (this.#isOver(signal)) return;
        }
        if (rows.length > 0) continue;
        if (until !== undefined) return;
        await this.#news(signal);
      }
    } finally {
      this.#subscribers.delete(subscriber);
    }
  }

  #isOver(signal: AbortSignal): boolean {
    return signal.aborted || this.#closed;
  }

  #news(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done);
    });
  }

  /** A transaction is over before any other code can run: so what subscribers find then is committed, or is not there. */
  #wake(): void {
    if (this.#wakes || this.#waiting.size === 0) return;
    this.#wakes = true;
    queueMicrotask(() => {
      this.#wakes = false;
      this.#notify();
    });
  }

  #notify(): void {
    for (const resolve of [...this.#waiting]) resolve();
  }

  /** `first` is the one that comes next when none is kept. */
  #range(): { first: bigint; last: bigint } {
    const { first, last } = this.#bounds.get() as { first: bigint | null; last: bigint | null };
    return { first: first ?? (last ?? 0n) + 1n, last: last ?? 0n };
  }

  /** Not at each append: so it is a little more that is kept. */
  #pruneOld(): void {
    this.#appendsSincePruned = 0;
    const { first, last } = this.#range();
    let end = last - this.#kept;
    for (const { position } of this.#subscribers) if (position < end) end = position;
    const least = last - patience * this.#kept;
    if (end < least) end = least;
    if (end >= first) this.#prune.run(end);
  }
}

function fromRow(row: Record<string, unknown>): JournalEvent {
  return {
    sequence: row['sequence'] as bigint,
    at: row['at'] as bigint,
    namespace: row['namespace'] as string,
    topic: row['topic'] as string,
    event: { typeUrl: row['type_url'] as string, value: Buffer.from(row['value'] as Uint8Array) },
    containerId: row['container_id'] as string,
    sandboxId: row['sandbox_id'] as string,
  };
}

function lost(after: bigint, first: bigint): RpcError {
  return new RpcError(
    Code.OutOfRange,
    `the events after ${after} are no longer kept: the oldest is ${first}; subscribe after 0 for all there is, or keep more (limits.events_kept)`,
  );
}
