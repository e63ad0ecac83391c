import { join } from 'node:path';
import { inspect } from 'node:util';
import { unlinkQuietly } from '../linux/index.ts';
import type { Log } from './log.ts';
import { containerRecordFile, shimRecordFile, writeRecord, type ContainerRecord, type ShimRecord } from './record.ts';

/**
 * Lets the records in the bundles follow those in memory: once for all that changes in one turn, after what the turn has to
 * answer; before it where a shim that is killed right after its answer would be contradicted by them.
 */
export class RecordWriter {
  readonly #log: Log;
  readonly #containers = new Set<ContainerRecord>();
  #shim: ShimRecord | undefined;
  #scheduled = false;

  constructor(log: Log) {
    this.#log = log;
  }

  container(record: ContainerRecord): void {
    this.#containers.add(record);
    this.#schedule();
  }

  shim(record: ShimRecord): void {
    this.#shim = record;
    this.#schedule();
  }

  /** The container is deleted: its record goes. */
  forget(record: ContainerRecord): void {
    this.#containers.delete(record);
    unlinkQuietly(join(record.bundle, containerRecordFile));
  }

  /** Writes what is due now. */
  flush(): void {
    const containers = [...this.#containers];
    const shim = this.#shim;
    this.#containers.clear();
    this.#shim = undefined;
    for (const record of containers) this.#write(record.bundle, containerRecordFile, record);
    // Each container's record is in its own bundle.
    if (shim !== undefined) this.#write(shim.bundle, shimRecordFile, { ...shim, containers: [] });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.flush();
    });
  }

  #write(bundle: string, file: string, record: ShimRecord | ContainerRecord): void {
    try {
      writeRecord(bundle, file, record);
    } catch (error) {
      this.#log.warn('a record cannot be written', { file: join(bundle, file), error: inspect(error) });
    }
  }
}
