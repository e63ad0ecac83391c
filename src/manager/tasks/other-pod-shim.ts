import { nowNanoseconds } from '../../wire/index.ts';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger as PinoLogger } from 'pino';
import { Code, isRpcError } from '../../grpc/index.ts';
import { unmountAllUnder } from '../../linux/index.ts';
import { namespaceOf, type Spec } from '../../oci/index.ts';
import { ContainerLog, endLogs, type LogSetup } from './container-log.ts';
import { makePauseRootfs, pauseSpec } from './pause-container.ts';
import type { CreateTaskOptions, StartSandboxOptions } from './pod-shim.ts';
import type { Exit } from './shim-command.ts';
import { type ShimParts, TaskShim } from './task-shim.ts';

const sigkill = 9;
const shmBytes = 64 * 1024 * 1024;

export interface OtherPodShimOptions {
  /** Absolute path of our static program. */
  readonly launcher: string;
  /** What the processes that write logs inherit. */
  readonly environment: Readonly<Record<string, string>>;
  readonly log: PinoLogger;
}

/** How often it is seen whether the containers' output is still read. */
const lookAfterLogsMs = 5000;

/**
 * A shim that knows containers only, such as containerd-shim-runc-v2. A container of ours is the sandbox, and the members' output comes
 * through FIFOs that a process of each container reads, and logs.
 */
export class OtherPodShim extends TaskShim {
  readonly #launcher: string;
  readonly #log: PinoLogger;
  readonly #logSetup: LogSetup;
  readonly #shmPath: string;
  readonly #logs = new Map<string, ContainerLog>();
  readonly #lookingAfter: NodeJS.Timeout;

  constructor(parts: ShimParts, { launcher, environment, log }: OtherPodShimOptions) {
    super(parts);
    this.#launcher = launcher;
    this.#log = log;
    this.#shmPath = join(this.info.bundle, 'shm');
    const failed = (err: unknown) =>
      log.error(
        { err, sandbox: this.info.id },
        'the output of a container is not read, and it will wait once the pipe is full',
      );
    this.#logSetup = { launcher, environment, native: this.native, complaints: this.folder.logPath, failed };
    mkdirSync(this.folder.ioFolder, { recursive: true, mode: 0o700 });
    this.#lookingAfter = setInterval(() => void this.#lookAfterLogs(), lookAfterLogsMs);
    this.#lookingAfter.unref();
  }

  override async takeUp(): Promise<void> {
    for (const id of ContainerLog.ids(this.folder.ioFolder)) this.#resumeLog(id);
    await this.#lookAfterLogs();
    await super.takeUp();
  }

  override async disconnect(): Promise<void> {
    await this.#letLogsGo();
    await super.disconnect();
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
    const log = await ContainerLog.make(this.folder.ioFolder, id, record, this.#logSetup);
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
    if (execId === '') await this.outputWritten(id);
    return exit;
  }

  override async delete(id: string, execId = ''): Promise<Exit & { pid: number }> {
    try {
      const answer = await super.delete(id, execId);
      if (execId === '') await this.#removeLog(id);
      return answer;
    } catch (error) {
      // Its creation was cut off, or its deletion.
      if (execId === '' && isRpcError(error, Code.NotFound)) await this.#removeLog(id);
      throw error;
    }
  }

  async outputWritten(id: string): Promise<void> {
    await this.#logs.get(id)?.drained(this.deadlines.drainMs);
  }

  async reopenLog(id: string): Promise<void> {
    await this.#logs.get(id)?.reopen();
  }

  protected async askToEnd(): Promise<void> {
    const { id } = this.info;
    await this.stopSandbox();
    await this.#letLogsGo();
    await endLogs(this.folder.ioFolder, this.native);
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

  async #removeLog(id: string): Promise<void> {
    const log = this.#logs.get(id);
    await log?.drained(this.deadlines.drainMs);
    this.#logs.delete(id);
    await log?.remove();
  }

  async #lookAfterLogs(): Promise<void> {
    await Promise.all([...this.#logs.values()].map((log) => log.lookAfter()));
  }

  #resumeLog(id: string): void {
    try {
      // One that is being made just now is here already.
      if (!this.#logs.has(id)) this.#logs.set(id, ContainerLog.resume(this.folder.ioFolder, id, this.#logSetup));
    } catch (err) {
      this.#log.error({ err, containerId: id }, 'the log of a container cannot be taken up');
    }
  }

  async #letLogsGo(): Promise<void> {
    clearInterval(this.#lookingAfter);
    await Promise.all([...this.#logs.values()].map((log) => log.letGo()));
  }
}
