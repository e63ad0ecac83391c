import { nowNanoseconds } from '../../wire/index.ts';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Code, isRpcError } from '../../grpc/index.ts';
import { unmountAllUnder } from '../../linux/index.ts';
import { namespaceOf, type Spec } from '../../oci/index.ts';
import { ContainerLog } from './container-log.ts';
import { makePauseRootfs, pauseSpec } from './pause-container.ts';
import type { CreateTaskOptions, StartSandboxOptions } from './pod-shim.ts';
import type { Exit } from './shim-command.ts';
import { type ShimParts, TaskShim } from './task-shim.ts';

const sigkill = 9;
const shmBytes = 64 * 1024 * 1024;

/**
 * A shim that knows containers only, such as containerd-shim-runc-v2. A container of ours is the sandbox, and the members' output comes
 * through FIFOs that are read, and logged, here.
 */
export class OtherPodShim extends TaskShim {
  readonly #launcher: string;
  readonly #log: Logger;
  readonly #ioFolder: string;
  readonly #shmPath: string;
  readonly #logs = new Map<string, ContainerLog>();

  /** @param launcher absolute path of our static program */
  constructor(parts: ShimParts, launcher: string, log: Logger) {
    super(parts);
    this.#launcher = launcher;
    this.#log = log;
    this.#ioFolder = join(this.info.bundle, 'io');
    this.#shmPath = join(this.info.bundle, 'shm');
    mkdirSync(this.#ioFolder, { recursive: true, mode: 0o700 });
  }

  override async takeUp(): Promise<void> {
    for (const id of ContainerLog.ids(this.#ioFolder)) {
      const log = ContainerLog.resume(this.#ioFolder, id, this.#logFailed(id));
      if (log !== undefined) this.#logs.set(id, log);
    }
    await super.takeUp();
  }

  override async disconnect(): Promise<void> {
    // What a dead shim has written last is still in the FIFOs.
    const graceMs = this.isOpen ? 0 : this.deadlines.drainMs;
    await super.disconnect();
    const logs = [...this.#logs.values()];
    if (graceMs > 0) await Promise.all(logs.map((log) => log.drained(graceMs)));
    await Promise.all(logs.map((log) => log.close()));
  }

  async startSandbox(options: StartSandboxOptions): Promise<{ pid: number; createdAt: bigint }> {
    const { id, bundle } = this.info;
    this.folder.writeSpec(pauseSpec(this.#launcher, options));
    makePauseRootfs(bundle);
    unmountAllUnder(this.#shmPath, this.native);
    mkdirSync(this.#shmPath, { recursive: true });
    const shmOptions = ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmBytes}`];
    this.native.mount('shm', this.#shmPath, 'tmpfs', shmOptions);
    const createdAt = nowNanoseconds();
    await this.createTask({ id, bundle });
    return { pid: await this.start(id), createdAt };
  }

  /** The pause container's exit is an event. */
  sandboxEnded(): Promise<void> {
    return Promise.withResolvers<undefined>().promise;
  }

  async stopSandbox(): Promise<void> {
    const { id } = this.info;
    try {
      await this.#killed(id);
      await this.wait(id, '', AbortSignal.timeout(this.deadlines.sandboxMs));
      await super.delete(id);
    } catch (error) {
      if (!isRpcError(error, Code.NotFound)) throw error;
    }
    unmountAllUnder(this.#shmPath, this.native);
  }

  async create(options: CreateTaskOptions): Promise<number> {
    const { id, bundle, rootfs, terminal, logPath, stdin } = options;
    await this.#shareShm(bundle);
    const record = { logPath, terminal, stdin };
    const log = await ContainerLog.make(this.#ioFolder, id, record, this.native, this.#logFailed(id));
    this.#logs.set(id, log);
    try {
      return await this.createTask({ id, bundle, rootfs, terminal, ...log.stdio });
    } catch (error) {
      this.#logs.delete(id);
      await log.remove();
      throw error;
    }
  }

  /** The log is complete when this resolves. */
  override async wait(id: string, execId = '', signal?: AbortSignal): Promise<Exit> {
    const exit = await super.wait(id, execId, signal);
    if (execId === '') await this.#logs.get(id)?.drained(this.deadlines.drainMs);
    return exit;
  }

  override async delete(id: string, execId = ''): Promise<Exit & { pid: number }> {
    const answer = await super.delete(id, execId);
    const log = execId === '' ? this.#logs.get(id) : undefined;
    if (log !== undefined) {
      await log.drained(this.deadlines.drainMs);
      this.#logs.delete(id);
      await log.remove();
    }
    return answer;
  }

  async reopenLog(id: string): Promise<void> {
    await this.#logs.get(id)?.reopen();
  }

  protected async askToEnd(): Promise<void> {
    const { id } = this.info;
    await this.stopSandbox();
    await this.task('Shutdown', { id, now: true }, { timeoutMs: this.deadlines.answerMs });
  }

  /** One that has ended already is no error. */
  async #killed(id: string): Promise<void> {
    try {
      await this.kill(id, sigkill, { all: true });
    } catch (error) {
      if (!isRpcError(error, Code.NotFound, Code.FailedPrecondition)) throw error;
    }
  }

  /** A member of the pod's IPC namespace has the pod's /dev/shm. */
  async #shareShm(bundle: string): Promise<void> {
    const path = join(bundle, 'config.json');
    const spec = JSON.parse(readFileSync(path, 'utf8')) as Spec;
    const mount = spec.mounts?.find(({ destination, type }) => destination === '/dev/shm' && type === 'tmpfs');
    const ipc = namespaceOf(spec, 'ipc')?.path ?? '';
    if (mount === undefined || !/^\/proc\/[0-9]+\/ns\/ipc$/.test(ipc)) return;
    const { pid } = await this.state(this.info.id);
    if (ipc !== `/proc/${pid}/ns/ipc`) return;
    const flags = (mount.options ?? []).filter((option) => /^(no(suid|exec|dev)|ro|rw)$/.test(option));
    Object.assign(mount, { type: 'bind', source: this.#shmPath, options: ['rbind', 'rprivate', ...flags] });
    writeFileSync(path, JSON.stringify(spec));
  }

  #logFailed(containerId: string): (error: unknown) => void {
    return (err) => this.#log.error({ err, containerId }, 'output of a container cannot be logged and is dropped');
  }
}
