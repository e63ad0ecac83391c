import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Logger } from 'pino';
import { Code, isRpcError, RpcError } from '../../grpc/index.ts';
import { containerCgroups } from '../../linux/index.ts';
import type { Spec } from '../../oci/index.ts';
import type { cri } from '../../wire/index.ts';
import type { ImageRecord, Images } from '../images/index.ts';
import {
  buildSpec,
  checkContainerConfig,
  type HostFacts,
  type ImageAccounts,
  imageVolumes,
  stopSignalOf,
  updateResources,
} from '../spec/index.ts';
import type { PodShim } from '../tasks/index.ts';
import { type ContainerRecord, isAlive } from './container-record.ts';
import type { ContainerRecords } from './container-records.ts';
import type { ContainerRootfs } from './container-rootfs.ts';
import type { ContainerStop } from './container-stop.ts';
import { newId } from './ids.ts';
import type { KeyedLock } from './keyed-lock.ts';
import type { Layout } from './layout.ts';
import { containerName, type Names } from './names.ts';
import type { PodEvents } from './pod-events.ts';
import type { PodShims } from './pod-shims.ts';
import type { SandboxRecord } from './sandbox-record.ts';
import type { SandboxRecords } from './sandbox-records.ts';
import type { Exit, TaskEvents } from './task-events.ts';
import { UndoStack } from './undo.ts';

const startErrorExitCode = 128;
/** What the peers say where nobody knows. */
const unknownExitCode = 255;
const sigkill = 9;
const configMode = 0o600;
const logFolderMode = 0o755;

export interface ContainersOptions {
  readonly records: ContainerRecords;
  readonly sandboxes: SandboxRecords;
  readonly images: Images;
  readonly accounts: ImageAccounts;
  readonly shims: PodShims;
  readonly rootfs: ContainerRootfs;
  readonly stop: ContainerStop;
  readonly taskEvents: TaskEvents;
  readonly events: PodEvents;
  readonly locks: KeyedLock;
  readonly names: Names;
  readonly layout: Layout;
  readonly host: HostFacts;
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
    // What an earlier daemon did not finish making is undone, and keeps nobody from making it again.
    for (const { id, sandboxId, config, state } of options.records.list()) {
      if (state !== 'creating') options.names.take(containerName(sandboxId, config), id);
    }
  }

  /** @throws {RpcError} NOT_FOUND */
  get(id: string): ContainerRecord {
    const record = this.#o.records.find(id);
    if (record !== undefined && record.state !== 'creating') return record;
    throw new RpcError(Code.NotFound, `there is no container "${id}": "berthctl ps -a" lists them`);
  }

  /**
   * Makes a container that can be started.
   * @throws {RpcError} INVALID_ARGUMENT for what the configuration asks for wrongly; NOT_FOUND for the sandbox or the image;
   * FAILED_PRECONDITION for a sandbox that is not ready; ALREADY_EXISTS when the name is taken
   */
  async create(sandboxId: string, config: cri.ContainerConfig, sandboxConfig: cri.PodSandboxConfig): Promise<string> {
    const sandbox = this.#readySandbox(sandboxId);
    checkContainerConfig(config, sandboxConfig);
    const reference = config.image?.image ?? '';
    const image = this.#o.images.find(reference);
    if (image === undefined) {
      throw new RpcError(Code.NotFound, `image "${reference}" is not here: pull it first (berthctl pull ${reference})`);
    }
    const id = newId();
    const name = containerName(sandbox.id, config);
    this.#o.names.take(name, id);
    const undo = new UndoStack(this.#o.log);
    undo.add('name', () => this.#o.names.release(name, id));
    try {
      const record = this.#o.records.put(newRecord(id, sandbox, config, image));
      undo.add('record', () => this.#o.records.delete(id));
      undo.add('rootfs', () => this.#o.rootfs.remove(id));
      const user = await this.#prepare(record, sandbox, image);
      // The sandbox may have been stopped meanwhile.
      this.#readySandbox(sandboxId);
      this.#o.records.put({ ...record, user, state: 'created' });
    } catch (error) {
      await undo.run();
      throw error;
    }
    this.#o.events.tell('created', sandbox.id, id);
    return id;
  }

  /** @throws {RpcError} NOT_FOUND; FAILED_PRECONDITION when it was started before; what its runtime says when it cannot be started */
  async start(idOrPrefix: string): Promise<void> {
    const { id } = this.get(idOrPrefix);
    await this.#o.locks.hold(id, async () => {
      const record = this.get(id);
      if (record.state !== 'created') {
        throw new RpcError(
          Code.FailedPrecondition,
          `container ${id} is ${record.state}: only one that is created can be started`,
        );
      }
      this.#readySandbox(record.sandboxId);
      this.#o.records.put({ ...record, state: 'starting', hasTask: true });
      try {
        await this.#startTask(record);
      } catch (error) {
        await this.#startFailed(id, error);
        throw error;
      }
    });
    this.#o.events.tell('started', this.get(id).sandboxId, id);
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
    await this.#o.stop.stop(id, 0);
    const removed = await this.#o.locks.hold(id, async () => {
      const record = this.#o.records.get(id);
      // One that is being made is undone by whoever makes it.
      if (record === undefined || record.state === 'creating') return false;
      this.#o.records.put({ ...record, state: 'removing' });
      await this.#remove(id);
      return true;
    });
    if (removed) this.#o.events.tell('deleted', sandboxId, id);
  }

  /**
   * Lets the shim forget a container that has ended: its mounts and the runtime's state go.
   * @throws {RpcError} UNAVAILABLE when we are not connected to the shim, or not yet; what the shim fails with
   */
  async releaseTask(id: string): Promise<void> {
    await this.#o.locks.hold(id, () => this.#releaseTask(id));
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
    const { process: spec } = await this.#spec(record.id);
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
    await this.#o.locks.hold(id, async () => {
      const record = this.get(id);
      if (record.state !== 'created' && record.state !== 'running') {
        throw new RpcError(
          Code.FailedPrecondition,
          `container ${id} is ${record.state}: its resources cannot be changed`,
        );
      }
      const oci = updateResources(resources, this.#o.host) as Record<string, unknown>;
      if (record.state === 'running') await (await this.#o.shims.get(record.sandboxId)).update(id, oci);
      const spec = await this.#spec(id);
      const linux = (spec.linux ??= {});
      linux['resources'] = merged(linux['resources'] as Record<string, unknown> | undefined, oci);
      await this.#writeSpec(id, spec);
      this.#o.records.update(id, { resources: mergedResources(record.resources, resources) });
    });
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

  /** After a crash in the middle of StartContainer: whatever was made of the task is removed, and it can be started again. */
  async undoStart(id: string, shim: PodShim): Promise<void> {
    await this.#o.locks.hold(id, async () => {
      const record = this.#o.records.get(id);
      if (record?.state !== 'starting') return;
      await shim.kill(id, sigkill, { all: true }).catch(ignoreAbsence);
      await shim.delete(id).catch(ignoreAbsence);
      // What the journal has of the attempt is a container that came and went.
      await this.#o.taskEvents.forgetAttempt(id);
      this.#o.records.update(id, { state: 'created', hasTask: false, stop: null, pid: 0 });
    });
  }

  /** After a crash: its shim does not know a container that ran, so what became of it cannot be learned. */
  vanished(id: string): void {
    this.#o.taskEvents.endedWithShim(id, { exitStatus: unknownExitCode, exitedAt: now() });
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
    const startedAt = record.startedAt > 0n ? record.startedAt : now();
    const cgroups = Object.keys(record.cgroups).length > 0 ? record.cgroups : containerCgroups(pid);
    this.#o.records.update(id, { state: 'running', pid, startedAt, cgroups });
  }

  #running(idOrPrefix: string, what: string): ContainerRecord {
    const record = this.get(idOrPrefix);
    if (record.state === 'running') return record;
    throw new RpcError(
      Code.FailedPrecondition,
      `cannot ${what} container ${record.id}: it is ${record.state}, not running`,
    );
  }

  #readySandbox(id: string): SandboxRecord {
    const sandbox = this.#o.sandboxes.find(id);
    if (sandbox === undefined || sandbox.state === 'creating') {
      throw new RpcError(Code.NotFound, `there is no pod sandbox "${id}": "berthctl pods" lists them`);
    }
    if (sandbox.state === 'ready' && !sandbox.stopping) return sandbox;
    throw new RpcError(Code.FailedPrecondition, `pod sandbox ${id} is not ready: it was stopped, or has failed`);
  }

  async #prepare(
    record: ContainerRecord,
    sandbox: SandboxRecord,
    image: ImageRecord,
  ): Promise<ContainerRecord['user']> {
    const { id, config } = record;
    const { layout } = this.#o;
    const layers = this.#o.images.layers(image.id);
    const volumes = await this.#o.rootfs.prepare(id, imageVolumes(image.config, config), layers);
    const target = this.#targetPid(record, config);
    const { spec, user, warnings } = await buildSpec({
      sandbox: {
        id: sandbox.id,
        config: sandbox.config,
        netnsPath: sandbox.netnsPath,
        pid: sandbox.pid,
        hostname: sandbox.hostname,
        hostsPath: layout.sandboxFile(sandbox.id, 'hosts'),
        hostnamePath: layout.sandboxFile(sandbox.id, 'hostname'),
        resolvConfPath: layout.sandboxFile(sandbox.id, 'resolv.conf'),
      },
      container: { id, config, bundle: layout.bundle(id), volumes, ...(target !== undefined && { targetPid: target }) },
      image: { record: image, layers },
      runtimeHandler: sandbox.runtime,
      host: this.#o.host,
      accounts: this.#o.accounts,
    });
    if (warnings.length > 0) this.#o.log.warn({ container: id, warnings }, 'not all that was asked for is given');
    await this.#writeSpec(id, spec);
    return user;
  }

  /** The process whose PID namespace the container asks to join. */
  #targetPid({ sandboxId }: ContainerRecord, config: cri.ContainerConfig): number | undefined {
    const targetId = config.linux?.securityContext?.namespaceOptions?.targetId ?? '';
    if (targetId === '') return undefined;
    const target = this.#o.records.find(targetId);
    if (target?.sandboxId !== sandboxId || target.state !== 'running') {
      throw new RpcError(
        Code.FailedPrecondition,
        `the container ${targetId}, whose PID namespace is to be shared, does not run in pod ${sandboxId}`,
      );
    }
    return target.pid;
  }

  async #startTask(record: ContainerRecord): Promise<void> {
    const { id, sandboxId, config, logPath } = record;
    const shim = await this.#o.shims.get(sandboxId);
    if (logPath !== '') await mkdir(dirname(logPath), { recursive: true, mode: logFolderMode });
    const pid = await shim.create({
      id,
      bundle: this.#o.layout.bundle(id),
      rootfs: this.#o.rootfs.mounts(id, this.#o.images.layers(record.imageId)),
      logPath,
      terminal: config.tty,
      stdin: config.stdin,
      stdinOnce: config.stdinOnce,
    });
    const cgroups = containerCgroups(pid);
    await shim.start(id);
    const startedAt = now();
    const latest = this.get(id);
    // Its end may have been told already.
    const state = latest.state === 'starting' ? 'running' : latest.state;
    this.#o.records.put({ ...latest, state, pid: state === 'running' ? pid : 0, startedAt, cgroups });
  }

  async #startFailed(id: string, error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    const record = this.#o.records.get(id);
    if (record === undefined) return;
    this.#o.records.put({
      ...record,
      state: 'exited',
      exitCode: startErrorExitCode,
      reason: 'StartError',
      message,
      startedAt: 0n,
      finishedAt: now(),
      pid: 0,
    });
    await this.#releaseTask(id).catch((failure: unknown) => {
      this.#o.log.warn({ container: id, err: failure }, 'a task that could not be started cannot be deleted yet');
    });
  }

  /** The lock is held. */
  async #releaseTask(id: string): Promise<void> {
    const record = this.#o.records.get(id);
    if (record === undefined || isAlive(record) || !record.hasTask) return;
    // Of a shim that is gone nothing is left. One that we are not connected to has the task still.
    if (this.#o.sandboxes.get(record.sandboxId)?.shim) {
      try {
        await (await this.#o.shims.get(record.sandboxId)).delete(id);
      } catch (error) {
        if (!isRpcError(error, Code.NotFound)) throw error;
      }
    }
    this.#o.records.update(id, { hasTask: false });
  }

  /** The lock is held, and the container does not run. */
  async #remove(id: string): Promise<void> {
    await this.#releaseTask(id);
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

  async #spec(id: string): Promise<Spec> {
    return JSON.parse(await readFile(join(this.#o.layout.bundle(id), 'config.json'), 'utf8')) as Spec;
  }

  async #writeSpec(id: string, spec: Spec): Promise<void> {
    await writeFile(join(this.#o.layout.bundle(id), 'config.json'), JSON.stringify(spec), { mode: configMode });
  }
}

function ignoreAbsence(error: unknown): undefined {
  if (isRpcError(error, Code.NotFound, Code.FailedPrecondition)) return undefined;
  throw error;
}

function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

function newRecord(
  id: string,
  sandbox: SandboxRecord,
  config: cri.ContainerConfig,
  image: ImageRecord,
): ContainerRecord {
  const folder = sandbox.config.logDirectory;
  return {
    id,
    sandboxId: sandbox.id,
    config,
    imageId: image.id,
    imageRef: image.digests[0] ?? image.id,
    state: 'creating',
    createdAt: now(),
    startedAt: 0n,
    finishedAt: 0n,
    pid: 0,
    exitCode: 0,
    reason: '',
    message: '',
    oomKilled: false,
    hasTask: false,
    told: { create: false, exit: false, delete: false },
    logPath: folder === '' || config.logPath === '' ? '' : join(folder, config.logPath),
    stopSignal: stopSignalOf(config, image.config),
    stop: null,
    user: { uid: 0, gid: 0, additionalGids: [] },
    resources: config.linux?.resources,
    cgroups: {},
  };
}

type Plain = Record<string, unknown>;

const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What the change names, in what there was. */
function merged(before: Plain | undefined, change: Plain): Plain {
  const result: Plain = { ...before };
  for (const [key, value] of Object.entries(change)) {
    const old = result[key];
    result[key] = isPlain(value) && isPlain(old) ? merged(old, value) : value;
  }
  return result;
}

/** A zero, an empty text and an empty list mean: as it was. */
function mergedResources(
  before: cri.LinuxContainerResources | undefined,
  change: cri.LinuxContainerResources,
): cri.LinuxContainerResources {
  if (before === undefined) return change;
  const isSet = ([, value]: [string, unknown]) =>
    value !== 0n && value !== '' && value !== 0 && value !== undefined && !(Array.isArray(value) && value.length === 0);
  const given = Object.fromEntries(Object.entries(change).filter(isSet)) as Partial<cri.LinuxContainerResources>;
  return { ...before, ...given, unified: { ...before.unified, ...change.unified } };
}
