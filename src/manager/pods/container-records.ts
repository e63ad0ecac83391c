import type { RecordTable, Store } from '../store/index.ts';
import { containerFormat, type ContainerRecord, isAlive } from './container-record.ts';
import { findById } from './ids.ts';

/** The records of all containers, and who waits for one of them to end. */
export class ContainerRecords {
  readonly #table: RecordTable<ContainerRecord>;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(store: Store) {
    this.#table = store.table('containers', containerFormat);
  }

  get size(): number {
    return this.#table.size;
  }

  get(id: string): ContainerRecord | undefined {
    return this.#table.get(id);
  }

  /** By id or the beginning of one. @throws {RpcError} INVALID_ARGUMENT when that is not one container's */
  find(id: string): ContainerRecord | undefined {
    return findById(this.#table, id, 'container');
  }

  /** The oldest first. */
  list(): ContainerRecord[] {
    return this.#table.values();
  }

  ofSandbox(sandboxId: string): ContainerRecord[] {
    return this.list().filter((record) => record.sandboxId === sandboxId);
  }

  put(record: ContainerRecord): ContainerRecord {
    this.#table.put(record.id, record);
    if (!isAlive(record)) this.#tell(record.id);
    return record;
  }

  /** Changes a record; undefined when it is not there any more. */
  update(id: string, change: Partial<ContainerRecord>): ContainerRecord | undefined {
    const record = this.#table.get(id);
    return record && this.put({ ...record, ...change });
  }

  delete(id: string): void {
    this.#table.delete(id);
    this.#tell(id);
  }

  /** True once the container has ended, or is gone; false when it has not within the time, or the signal says to stop waiting. */
  async ended(id: string, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const over = () => {
      const record = this.#table.get(id);
      return record === undefined || !isAlive(record);
    };
    if (over()) return true;
    await new Promise<void>((resolve) => {
      const waiting = this.#waiting.get(id) ?? new Set();
      this.#waiting.set(id, waiting);
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        waiting.delete(done);
        if (waiting.size === 0) this.#waiting.delete(id);
        resolve();
      };
      const timer = setTimeout(done, Math.max(0, timeoutMs));
      waiting.add(done);
      signal?.addEventListener('abort', done);
      if (signal?.aborted === true) done();
    });
    return over();
  }

  #tell(id: string): void {
    for (const done of [...(this.#waiting.get(id) ?? [])]) done();
  }
}
