import type { Logger } from 'pino';
import { Code, isRpcError, RpcError } from '../../grpc/index.ts';
import { type ContainerRecord, isAlive } from './container-record.ts';
import type { ContainerRecords } from './container-records.ts';
import type { KeyedLock } from './keyed-lock.ts';
import type { PodShims } from './pod-shims.ts';

const sigkill = 9;
/** How long a container may take to go after SIGKILL: past it the kernel holds it. */
const killMs = 30_000;

/**
 * Ends containers. What was asked for is in the record before anything is done, and one loop a container works on it, whoever
 * asks, whether the caller stays or not; so it is finished after a restart too.
 */
export class ContainerStop {
  readonly #records: ContainerRecords;
  readonly #shims: PodShims;
  readonly #locks: KeyedLock;
  readonly #log: Logger;
  readonly #running = new Map<string, Promise<void>>();
  /** Told when a deadline was moved. */
  readonly #moved = new Map<string, AbortController>();

  constructor(records: ContainerRecords, shims: PodShims, locks: KeyedLock, log: Logger) {
    this.#records = records;
    this.#shims = shims;
    this.#locks = locks;
    this.#log = log;
  }

  /**
   * Asks the container to end by its stop signal, and kills it after the time. Resolves when it has ended; one that does not run
   * has. A second stop can only make it sooner.
   * @throws {RpcError} DEADLINE_EXCEEDED when it is there even after SIGKILL; UNAVAILABLE when its shim does not answer
   */
  async stop(id: string, timeoutSeconds: number): Promise<void> {
    await this.#locks.hold(id, () => {
      const record = this.#records.get(id);
      if (record !== undefined && isAlive(record)) this.#ask(record, timeoutSeconds);
      return Promise.resolve();
    });
    await this.resume(id);
  }

  /** Works on what the record asks for, if it asks for anything. */
  resume(id: string): Promise<void> {
    const running = this.#running.get(id);
    if (running !== undefined) return running;
    const work = this.#work(id).finally(() => this.#running.delete(id));
    this.#running.set(id, work);
    return work;
  }

  #ask(record: ContainerRecord, timeoutSeconds: number): void {
    const deadline = Date.now() + timeoutSeconds * 1000;
    const before = record.stop;
    this.#records.update(record.id, {
      stop: {
        signal: record.stopSignal,
        deadline: before === null ? deadline : Math.min(before.deadline, deadline),
        signalled: before?.signalled ?? false,
      },
    });
    this.#moved.get(record.id)?.abort();
  }

  async #work(id: string): Promise<void> {
    for (;;) {
      const record = this.#records.get(id);
      if (record === undefined || record.stop === null || !isAlive(record)) return;
      const { signal, deadline, signalled } = record.stop;
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) {
        await this.#kill(record);
        return;
      }
      if (!signalled) {
        await this.#signal(record, signal);
        // The deadline may have been moved meanwhile.
        const latest = this.#records.get(id)?.stop;
        if (latest) this.#records.update(id, { stop: { ...latest, signalled: true } });
        continue;
      }
      const moved = new AbortController();
      this.#moved.set(id, moved);
      await this.#records.ended(id, leftMs, moved.signal);
      this.#moved.delete(id);
    }
  }

  async #kill(record: ContainerRecord): Promise<void> {
    await this.#signal(record, sigkill);
    if (await this.#records.ended(record.id, killMs)) return;
    throw new RpcError(
      Code.DeadlineExceeded,
      `container ${record.id} is still there ${killMs / 1000} s after SIGKILL: ` +
        `look at what its process ${record.pid} waits for (cat /proc/${record.pid}/stack)`,
    );
  }

  /** A process that has ended already is what was wanted: its exit is on its way. */
  async #signal(record: ContainerRecord, signal: number): Promise<void> {
    try {
      const shim = await this.#shims.get(record.sandboxId);
      await shim.kill(record.id, signal, { all: signal === sigkill });
    } catch (error) {
      if (isRpcError(error, Code.NotFound, Code.FailedPrecondition)) {
        this.#log.debug({ container: record.id, signal, err: error }, 'nothing to signal');
        return;
      }
      throw error;
    }
  }
}
