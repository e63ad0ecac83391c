import { DatabaseSync } from 'node:sqlite';
import { RecordTable, type RecordFormat } from './record-table.ts';

/** Of the layout below; a store of a newer one is refused. */
const schemaVersion = 1;

/**
 * What was asked for and what has ended, in SQLite (WAL). A write that has returned survives SIGKILL of the process; after a power
 * failure the last ones may be missing, and with them the containers are gone too.
 */
export class Store implements Disposable {
  readonly database: DatabaseSync;
  readonly path: string;

  /** @throws when the file is no store, or one of a newer version */
  constructor(path: string) {
    this.path = path;
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
    return new RecordTable(this.database, name, format);
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
      this.database.exec('ROLLBACK');
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.database.close();
  }
}
