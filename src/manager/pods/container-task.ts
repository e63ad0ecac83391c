import { nowNanoseconds } from '../../wire/index.ts';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { Code, isRpcError } from '../../grpc/index.ts';
import { containerCgroups } from '../../linux/index.ts';
import type { Images } from '../images/index.ts';
import type { PodShim } from '../tasks/index.ts';
import { type ContainerRecord, isAlive, untold } from './container-record.ts';
import type { ContainerRecords } from './container-records.ts';
import type { ContainerRootfs } from './container-rootfs.ts';
import type { Layout } from './layout.ts';
import type { PodShims } from './pod-shims.ts';
import type { SandboxRecords } from './sandbox-records.ts';
import type { Exit, TaskEvents } from './task-events.ts';

const startErrorExitCode = 128;
/** What the peers say where nobody knows. */
const unknownExitCode = 255;
const sigkill = 9;
const logFolderMode = 0o755;
/** How long a task is killed and deleted again and again, and how long each kill may take. */
const endMs = 30_000;
const killMs = 5000;

export interface ContainerTaskOptions {
  readonly records: ContainerRecords;
  readonly sandboxes: SandboxRecords;
  readonly images: Images;
  readonly shims: PodShims;
  readonly rootfs: ContainerRootfs;
  readonly taskEvents: TaskEvents;
  readonly layout: Layout;
  readonly log: Logger;
}

/** What a container is to its shim: a task, from its start until it is deleted. The container's lock is held by whoever calls. */
export class ContainerTask {
  readonly #o: ContainerTaskOptions;

  constructor(options: ContainerTaskOptions) {
    this.#o = options;
  }

  /** Starts a container that is created. When that fails the container has ended, with the failure as its reason. */
  async start(record: ContainerRecord): Promise<void> {
    // A clock that was set back since must not make what happens now older than that.
    const undoneAt = record.undoneAt < nowNanoseconds() ? record.undoneAt : 0n;
    this.#o.records.put({ ...record, state: 'starting', hasTask: true, told: untold, undoneAt });
    try {
      await this.#start(record);
    } catch (error) {
      await this.#startFailed(record.id, error);
      throw error;
    }
  }

  /**
   * Lets the shim forget a container that has ended: its mounts and the runtime's state go.
   * @throws {RpcError} UNAVAILABLE when we are not connected to the shim, or not yet; what the shim fails with
   */
  async release(id: string): Promise<void> {
    const record = this.#o.records.get(id);
    if (record === undefined || isAlive(record) || !record.hasTask) return;
    // Of a shim that is gone nothing is left. One that we are not connected to has the task still.
    if (this.#o.sandboxes.get(record.sandboxId)?.shim) await end(await this.#o.shims.get(record.sandboxId), id);
    this.#o.records.update(id, { hasTask: false });
  }

  /** After a crash in the middle of a start: whatever was made of the task is removed, and it can be started again. */
  async undoStart(id: string, shim: PodShim): Promise<void> {
    if (this.#o.records.get(id)?.state !== 'starting') return;
    await end(shim, id);
    // What the journal has of the attempt is a container that came and went.
    await this.#o.taskEvents.forgetAttempt(id);
    this.#o.records.update(id, { state: 'created', hasTask: false, stop: null, pid: 0 });
  }

  /** After a crash: its shim does not know a container that ran, so what became of it cannot be learned. */
  vanished(id: string): void {
    this.#o.taskEvents.endedWithShim(id, { exitStatus: unknownExitCode, exitedAt: nowNanoseconds() });
    this.#o.records.update(id, {
      reason: 'ContainerStatusUnknown',
      message: 'its shim did not know it when berthd was started again',
    });
  }

  /** After a crash: it has ended, and its shim, which is another than ours, has told nobody. */
  hasEnded(id: string, exit: Exit): void {
    this.#o.taskEvents.learned(id, exit);
  }

  /** After a crash: it runs. */
  found(id: string, pid: number): void {
    const record = this.#o.records.get(id);
    if (record === undefined || !isAlive(record)) return;
    const startedAt = record.startedAt > 0n ? record.startedAt : nowNanoseconds();
    const cgroups = Object.keys(record.cgroups).length > 0 ? record.cgroups : containerCgroups(pid);
    this.#o.records.update(id, { state: 'running', pid, startedAt, cgroups });
  }

  async #start(record: ContainerRecord): Promise<void> {
    const { id, sandboxId, config, logPath } = record;
    const { shims, layout, rootfs, images, records } = this.#o;
    const shim = await shims.get(sandboxId);
    if (logPath !== '') await mkdir(dirname(logPath), { recursive: true, mode: logFolderMode });
    const pid = await shim.create({
      id,
      bundle: layout.bundle(id),
      rootfs: rootfs.mounts(id, images.layers(record.imageId)),
      logPath,
      terminal: config.tty,
      stdin: config.stdin,
      stdinOnce: config.stdinOnce,
    });
    // An exit of another process than this is of an attempt before.
    records.update(id, { pid, cgroups: containerCgroups(pid) });
    await shim.start(id);
    const latest = records.get(id);
    if (latest === undefined) return;
    const startedAt = latest.startedAt > 0n ? latest.startedAt : nowNanoseconds();
    // Its end may have been told already.
    records.put({ ...latest, startedAt, ...(latest.state === 'starting' && { state: 'running' }) });
  }

  async #startFailed(id: string, error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    this.#o.records.update(id, {
      state: 'exited',
      exitCode: startErrorExitCode,
      reason: 'StartError',
      message,
      startedAt: 0n,
      finishedAt: nowNanoseconds(),
      pid: 0,
    });
    await this.release(id).catch((failure: unknown) => {
      this.#o.log.warn({ container: id, err: failure }, 'a task that could not be started cannot be deleted yet');
    });
  }
}

/** Deletes the task. One that runs, though its record says that it does not (the answer to its start was lost, say), is killed. */
async function end(shim: PodShim, id: string): Promise<void> {
  for (const deadline = Date.now() + endMs; ;) {
    try {
      await shim.delete(id);
      return;
    } catch (error) {
      if (isRpcError(error, Code.NotFound)) return;
      if (!isRpcError(error, Code.FailedPrecondition) || Date.now() > deadline) throw error;
    }
    await shim.kill(id, sigkill, { all: true }).catch(ignoreAbsence);
    await shim.wait(id, '', AbortSignal.timeout(killMs)).catch(() => undefined);
  }
}

function ignoreAbsence(error: unknown): undefined {
  if (isRpcError(error, Code.NotFound, Code.FailedPrecondition)) return undefined;
  throw error;
}
