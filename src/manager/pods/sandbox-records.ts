import { Code, RpcError } from '../../grpc/index.ts';
import type { RecordTable, Store } from '../store/index.ts';
import { findById } from './ids.ts';
import { sandboxFormat, type SandboxRecord } from './sandbox-record.ts';

/** The records of all pod sandboxes. */
export class SandboxRecords {
  readonly #table: RecordTable<SandboxRecord>;

  constructor(store: Store) {
    this.#table = store.table('sandboxes', sandboxFormat);
  }

  get size(): number {
    return this.#table.size;
  }

  get(id: string): SandboxRecord | undefined {
    return this.#table.get(id);
  }

  /** By id or the beginning of one. @throws {RpcError} INVALID_ARGUMENT when that is not one sandbox's */
  find(id: string): SandboxRecord | undefined {
    return findById(this.#table, id, 'pod sandbox');
  }

  /** @throws {RpcError} NOT_FOUND; FAILED_PRECONDITION for one that nothing can be made in */
  ready(idOrPrefix: string): SandboxRecord {
    const record = this.find(idOrPrefix);
    if (record === undefined || record.state === 'creating') {
      throw new RpcError(Code.NotFound, `there is no pod sandbox "${idOrPrefix}": "berthctl pods" lists them`);
    }
    if (record.state === 'ready' && !record.stopping) return record;
    throw new RpcError(Code.FailedPrecondition, `pod sandbox ${record.id} is not ready: it was stopped, or has failed`);
  }

  /** The oldest first. */
  list(): SandboxRecord[] {
    return this.#table.values();
  }

  put(record: SandboxRecord): SandboxRecord {
    this.#table.put(record.id, record);
    return record;
  }

  /** Changes a record; undefined when it is not there any more. */
  update(id: string, change: Partial<SandboxRecord>): SandboxRecord | undefined {
    const record = this.#table.get(id);
    return record && this.put({ ...record, ...change });
  }

  delete(id: string): void {
    this.#table.delete(id);
  }
}
