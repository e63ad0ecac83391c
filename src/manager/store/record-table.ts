import type { DatabaseSync, StatementSync } from 'node:sqlite';

/** How a record becomes text and is made again of it. */
export interface RecordFormat<T> {
  encode(record: T): string;
  decode(text: string): T;
}

/** Records that are plain JSON. */
export function jsonFormat<T>(): RecordFormat<T> {
  return { encode: (record) => JSON.stringify(record), decode: (text) => JSON.parse(text) as T };
}

/** Records by id, read once and kept in memory; each write is in the store when it returns. */
export class RecordTable<T> {
  readonly #format: RecordFormat<T>;
  readonly #records = new Map<string, T>();
  readonly #changed: (undo: () => void) => void;
  readonly #put: StatementSync;
  readonly #delete: StatementSync;

  /** @param changed is given what takes a change back in memory, should its transaction fail */
  constructor(
    database: DatabaseSync,
    name: string,
    format: RecordFormat<T>,
    changed: (undo: () => void) => void = () => undefined,
  ) {
    if (!/^[a-z_]+$/.test(name)) throw new Error(`"${name}" is no name for a table`);
    this.#format = format;
    this.#changed = changed;
    database.exec(`CREATE TABLE IF NOT EXISTS ${name} (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT`);
    this.#put = database.prepare(
      `INSERT INTO ${name} VALUES (?, ?) ON CONFLICT(id) DO UPDATE SET record = excluded.record`,
    );
    this.#delete = database.prepare(`DELETE FROM ${name} WHERE id = ?`);
    for (const row of database.prepare(`SELECT id, record FROM ${name} ORDER BY rowid`).all()) {
      this.#records.set(row['id'] as string, format.decode(row['record'] as string));
    }
  }

  get size(): number {
    return this.#records.size;
  }

  get(id: string): T | undefined {
    return this.#records.get(id);
  }

  /** In the order in which they were first put. */
  values(): T[] {
    return [...this.#records.values()];
  }

  /** A failed write, or a transaction that fails, changes nothing in memory either. */
  put(id: string, record: T): void {
    this.#put.run(id, this.#format.encode(record));
    this.#rememberChange(id);
    this.#records.set(id, record);
  }

  delete(id: string): void {
    this.#delete.run(id);
    this.#rememberChange(id);
    this.#records.delete(id);
  }

  #rememberChange(id: string): void {
    const before = this.#records.get(id);
    this.#changed(() => {
      if (before === undefined) this.#records.delete(id);
      else this.#records.set(id, before);
    });
  }
}
