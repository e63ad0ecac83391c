import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { RecordTable, type RecordFormat } from './record-table.ts';

/** Of the layout below; a store of a newer one is refused. */
const schemaVersion = 1;
const privateMode = 0o600;

/**
 * What was asked for and what has ended, in SQLite (WAL). A write that has returned survives SIGKILL of the process; after a power
 * failure the last ones may be missing, and with them the containers are gone too.
 */
export class Store implements Disposable {
  readonly database: DatabaseSync;
  readonly path: string;
  /** What takes back, in memory, what the transaction has changed; newest last. */
  readonly #undo: (() => void)[] = [];

  /** @throws when the file is no store, or one of a newer version */
  constructor(path: string) {
    this.path = path;
    // Containers' environments are in it, with their secrets; SQLite gives its other files the mode of this one.
    closeSync(openSync(path, 'a', privateMode));
    chmodSync(path, privateMode);
    this.database = new DatabaseSync(path);
    this.database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000;');
    const { user_version: found } = this.database.prepare('PRAGMA user_version').get() as { user_version: number };
    if (found > schemaVersion) {
      throw new Error(`${path} was written by a newer berthd (layout ${found}; this one knows ${schemaVersion})`);
    }
    if (found < schemaVersion) this.database.exec(`PRAGMA user_version = ${schemaVersion}`);
  }

  /** A table of records by id; it is made if it is not there. */
  table<T>(name: string, format: RecordFormat<T>): RecordTable<T> {
    const changed = (undo: () => void) => {
      if (this.database.isTransaction) this.#undo.push(undo);
    };
    return new RecordTable(this.database, name, format, changed);
  }

  /** All writes of `work` happen, or none. `work` must not wait for anything. */
  transaction<T>(work: () => T): T {
    if (this.database.isTransaction) return work();
    this.database.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.database.exec('COMMIT');
      return result;
    } catch (error) {
      // A commit that fails for want of space has ended the transaction already.
      // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- the lines above have changed it
      if (this.database.isTransaction) this.database.exec('ROLLBACK');
      for (const undo of this.#undo.reverse()) undo();
      throw error;
    } finally {
      this.#undo.length = 0;
    }
  }

  [Symbol.dispose](): void {
    this.database.close();
  }
}
