import type { Logger } from 'pino';
import { Code, RpcError } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';
import type { CgroupMoves } from '../../linux/index.ts';
import type { Images } from '../images/index.ts';
import type { ContainerCreation } from './container-creation.ts';
import { type ContainerRecord, isAlive } from './container-record.ts';
import type { ContainerRecords } from './container-records.ts';
import type { ContainerResources } from './container-resources.ts';
import type { ContainerRootfs } from './container-rootfs.ts';
import type { ContainerStop } from './container-stop.ts';
import type { ContainerTask } from './container-task.ts';
import type { KeyedLock } from './keyed-lock.ts';
import { containerName, type Names } from './names.ts';
import type { PodEvents } from './pod-events.ts';
import type { PodShims } from './pod-shims.ts';
import type { SandboxRecords } from './sandbox-records.ts';
import type { SpecFile } from './spec-file.ts';
import type { TaskEvents } from './task-events.ts';

export interface ContainersOptions {
  readonly records: ContainerRecords;
  readonly sandboxes: SandboxRecords;
  readonly images: Images;
  readonly creation: ContainerCreation;
  readonly task: ContainerTask;
  readonly stop: ContainerStop;
  readonly resources: ContainerResources;
  readonly rootfs: ContainerRootfs;
  readonly specFile: SpecFile;
  readonly shims: PodShims;
  readonly taskEvents: TaskEvents;
  readonly events: PodEvents;
  readonly locks: KeyedLock;
  readonly names: Names;
  readonly cgroupMoves: CgroupMoves;
  readonly log: Logger;
}

/** What ExecSync gives. */
export interface ExecResult {
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly exitCode: number;
}

/** The life of containers, from CreateContainer to RemoveContainer. */
export class Containers {
  readonly #o: ContainersOptions;

  constructor(options: ContainersOptions) {
    this.#o = options;
  }

  /** @throws {RpcError} NOT_FOUND */
  get(id: string): ContainerRecord {
    const record = this.#o.records.find(id);
    if (record !== undefined && record.state !== 'creating') return record;
    throw new RpcError(Code.NotFound, `there is no container "${id}": "berthctl ps -a" lists them`);
  }

  /**
   * Makes a container that can be started; gives its id.
   * @throws {RpcError} INVALID_ARGUMENT for what the configuration asks for wrongly; NOT_FOUND for the sandbox or the image;
   * FAILED_PRECONDITION for a sandbox that is not ready; ALREADY_EXISTS when the name is taken
   */
  async create(sandboxId: string, config: cri.ContainerConfig, sandboxConfig: cri.PodSandboxConfig): Promise<string> {
    // Its start mostly follows at once.
    this.#o.cgroupMoves.expect();
    const record = await this.#o.creation.create(sandboxId, config, sandboxConfig);
    this.#o.events.tell('created', record.sandboxId, record.id);
    return record.id;
  }

  /** @throws {RpcError} NOT_FOUND; FAILED_PRECONDITION when it was started before; what its runtime says when it cannot be started */
  async start(idOrPrefix: string): Promise<void> {
    const { id, sandboxId } = this.get(idOrPrefix);
    this.#o.cgroupMoves.expect();
    // What a start that was cut off has come to is known then.
    await this.#o.shims.met(sandboxId);
    await this.#o.locks.hold(id, async () => {
      const record = this.get(id);
      if (record.state !== 'created') {
        throw new RpcError(
          Code.FailedPrecondition,
          `container ${id} is ${record.state}: only one that is created can be started`,
        );
      }
      this.#o.sandboxes.ready(sandboxId);
      await this.#o.task.start(record);
    });
    this.#o.events.tell('started', sandboxId, id);
  }

  /** Ends it, gently at first; see ContainerStop. One that is not there, or does not run, has ended. */
  async stop(idOrPrefix: string, timeoutSeconds: number): Promise<void> {
    const record = this.#o.records.find(idOrPrefix);
    if (record !== undefined) await this.#o.stop.stop(record.id, timeoutSeconds);
  }

  /** Removes it, whatever it does. One that is not there is no error. */
  async remove(idOrPrefix: string): Promise<void> {
    const found = this.#o.records.find(idOrPrefix);
    if (found === undefined) return;
    const { id, sandboxId } = found;
    for (let outcome = ''; outcome !== 'absent';) {
      await this.#o.stop.stop(id, 0);
      outcome = await this.#o.locks.hold(id, async () => {
        const record = this.#o.records.get(id);
        // One that is being made is undone by whoever makes it.
        if (record === undefined || record.state === 'creating') return 'absent';
        // It was started since.
        if (isAlive(record)) return 'alive';
        this.#o.records.put({ ...record, state: 'removing' });
        await this.#remove(id);
        this.#o.events.tell('deleted', sandboxId, id);
        return 'absent';
      });
    }
  }

  /** Lets the shim forget a container that has ended; see ContainerTask. */
  async releaseTask(id: string): Promise<void> {
    await this.#o.locks.hold(id, () => this.#o.task.release(id));
  }

  /** Runs a command in it to its end; the signal ends it before. @param timeoutSeconds 0: it may run for ever */
  async exec(
    idOrPrefix: string,
    args: readonly string[],
    timeoutSeconds: number,
    maxOutputBytes: number,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const record = this.#running(idOrPrefix, 'run a command in');
    if (args.length === 0) throw new RpcError(Code.InvalidArgument, 'ExecSync: cmd is empty: name what to run');
    this.#o.cgroupMoves.expect();
    const { process: spec } = await this.#o.specFile.read(record.id);
    const shim = await this.#o.shims.get(record.sandboxId);
    return await shim.execSync(record.id, {
      args: [...args],
      processSpec: { cwd: '/', ...spec, terminal: false },
      timeoutMs: timeoutSeconds * 1000,
      maxOutputBytes,
      signal,
    });
  }

  /** Changes the resources of a container that is created or runs. */
  async update(idOrPrefix: string, resources: cri.LinuxContainerResources): Promise<void> {
    const { id } = this.get(idOrPrefix);
    await this.#o.locks.hold(id, () => this.#o.resources.update(this.get(id), resources));
  }

  /** Opens the log anew, after it was renamed. */
  async reopenLog(idOrPrefix: string): Promise<void> {
    const record = this.#running(idOrPrefix, 'reopen the log of');
    await (await this.#o.shims.get(record.sandboxId)).reopenLog(record.id);
  }

  /** After a crash: what CreateContainer or RemoveContainer had begun ends in the container's not being there. */
  async discard(id: string): Promise<void> {
    await this.#o.locks.hold(id, () => this.#remove(id));
  }

  #running(idOrPrefix: string, what: string): ContainerRecord {
    const record = this.get(idOrPrefix);
    if (record.state === 'running') return record;
    throw new RpcError(
      Code.FailedPrecondition,
      `cannot ${what} container ${record.id}: it is ${record.state}, not running`,
    );
  }

  /** The lock is held, and the container does not run. */
  async #remove(id: string): Promise<void> {
    await this.#o.task.release(id);
    await this.#o.taskEvents.settle(id);
    await this.#o.rootfs.remove(id);
    const record = this.#o.records.get(id);
    this.#o.records.delete(id);
    if (record === undefined) return;
    this.#o.names.release(containerName(record.sandboxId, record.config), id);
    // The layers of an image that was removed meanwhile have stayed for its containers.
    if (this.#o.images.find(record.imageId) !== undefined) return;
    this.#o.images.collectGarbage().catch((error: unknown) => {
      this.#o.log.warn({ image: record.imageId, err: error }, 'layers that nobody uses cannot be removed yet');
    });
  }
}
