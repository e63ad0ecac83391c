import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, isRpcError, RpcError } from '../../grpc/index.ts';
import { type NativeAddon } from '../../linux/index.ts';

import {
  fromTimestamp,
  type Init,
  ociType,
  packAny,
  packJson,
  type protobuf,
  runc,
  type task,
  taskV2,
  taskV3,
  type MethodNames,
  type RequestOf,
  type ResponseOf,
} from '../../wire/index.ts';
import { type Deadlines, within } from './deadlines.ts';
import { type ExecCalls, ExecSync, type ExecSyncOptions, type ExecSyncResult } from './exec-sync.ts';
import type { CreateTaskOptions, PodShim, StartSandboxOptions } from './pod-shim.ts';
import { hasEnded } from './process-identity.ts';
import type { ResolvedRuntime } from './runtimes.ts';
import type { SandboxFolder } from './sandbox-folder.ts';
import type { Exit } from './shim-command.ts';
import type { ShimCallOptions, ShimConnection } from './shim-connection.ts';
import type { ShimInfo } from './shim-info.ts';
import type { ShimLog } from './shim-log.ts';

type TaskMethod = MethodNames<typeof taskV3, 'unary'>;

/** Between two attempts to wait for an end. */
const askAgainMs = 20;

/** What a shim's face in the manager is made of. */
export interface ShimParts {
  readonly info: ShimInfo;
  readonly connection: ShimConnection;
  readonly folder: SandboxFolder;
  readonly shimLog: ShimLog;
  readonly native: NativeAddon;
  readonly deadlines: Deadlines;
  /** undefined when the configuration no longer has the handler: then only new containers are refused. */
  readonly runtime: ResolvedRuntime | undefined;
  readonly systemdCgroup: boolean;
}

/** What all shims have in common: the task service. */
export abstract class TaskShim implements PodShim {
  readonly info: ShimInfo;
  protected readonly connection: ShimConnection;
  protected readonly folder: SandboxFolder;
  protected readonly native: NativeAddon;
  protected readonly deadlines: Deadlines;
  readonly #shimLog: ShimLog;
  readonly #runtime: ResolvedRuntime | undefined;
  readonly #systemdCgroup: boolean;
  readonly #execs: ExecSync;
  #shutdown: Promise<void> | undefined;

  constructor(parts: ShimParts) {
    this.info = parts.info;
    this.connection = parts.connection;
    this.folder = parts.folder;
    this.native = parts.native;
    this.deadlines = parts.deadlines;
    this.#shimLog = parts.shimLog;
    this.#runtime = parts.runtime;
    this.#systemdCgroup = parts.systemdCgroup;
    const calls: ExecCalls = {
      exec: async (id, execId, spec, stdio) => {
        const request = { id, execId, ...stdio, spec: packJson(ociType.process, spec) };
        await this.task('Exec', request, { timeoutMs: this.deadlines.answerMs });
      },
      start: (id, execId) => this.start(id, execId),
      wait: (id, execId, signal) => this.wait(id, execId, signal),
      kill: (id, signal, options) => this.kill(id, signal, options),
      delete: (id, execId) => this.delete(id, execId),
    };
    this.#execs = new ExecSync(calls, join(this.info.bundle, 'exec'), this.native, this.deadlines);
  }

  get whenGone(): Promise<string> {
    return this.connection.whenGone;
  }

  get isOpen(): boolean {
    return this.connection.isOpen;
  }

  abstract startSandbox(options: StartSandboxOptions): Promise<{ pid: number; createdAt: bigint }>;
  abstract sandboxEnded(): Promise<void>;
  abstract stopSandbox(timeoutSeconds: number): Promise<void>;
  abstract create(options: CreateTaskOptions): Promise<number>;
  abstract outputWritten(id: string): Promise<void>;
  abstract reopenLog(id: string): Promise<void>;
  /** Asks the shim to end; it is to be ready for it. */
  protected abstract askToEnd(): Promise<void>;

  shutdown(): Promise<void> {
    this.#shutdown ??= this.#end();
    // A failure may be tried again.
    this.#shutdown.catch(() => (this.#shutdown = undefined));
    return this.#shutdown;
  }

  /** Takes up what an earlier manager has left. */
  takeUp(): Promise<void> {
    return this.#execs.endLeftBehind();
  }

  /** Lets go of the shim, which stays, or is gone. Idempotent. */
  disconnect(): Promise<void> {
    this.connection.close();
    this.#shimLog.close();
    return Promise.resolve();
  }

  async start(id: string, execId = ''): Promise<number> {
    return (await this.task('Start', { id, execId }, { timeoutMs: this.deadlines.runtimeMs })).pid;
  }

  async kill(id: string, signal: number, o: { execId?: string; all?: boolean } = {}): Promise<void> {
    const request = { id, signal, execId: o.execId ?? '', all: o.all ?? false };
    await this.task('Kill', request, { timeoutMs: this.deadlines.answerMs });
  }

  async wait(id: string, execId = '', signal?: AbortSignal): Promise<Exit> {
    return exitOf(await this.askAgain(() => this.task('Wait', { id, execId }, { timeoutMs: undefined, signal })));
  }

  /** A call that only waits is made again through the connection that is made anew, if the shim lives. */
  protected async askAgain<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (!isRpcError(error, Code.Unavailable) || !this.isOpen) throw error;
        await sleep(askAgainMs, undefined, { ref: false });
      }
    }
  }

  async delete(id: string, execId = ''): Promise<Exit & { pid: number }> {
    const answer = await this.task('Delete', { id, execId }, { timeoutMs: this.deadlines.runtimeMs });
    return { ...exitOf(answer), pid: answer.pid };
  }

  state(id: string): Promise<task.StateResponse> {
    return this.task('State', { id }, { timeoutMs: this.deadlines.answerMs });
  }

  async pids(id: string): Promise<number[]> {
    const { processes } = await this.task('Pids', { id }, { timeoutMs: this.deadlines.answerMs });
    return processes.map(({ pid }) => pid);
  }

  async stats(id: string): Promise<protobuf.Any | undefined> {
    return (await this.task('Stats', { id }, { timeoutMs: this.deadlines.answerMs })).stats;
  }

  async update(id: string, resources: object): Promise<void> {
    const request = { id, resources: packJson(ociType.resources, resources) };
    await this.task('Update', request, { timeoutMs: this.deadlines.runtimeMs });
  }

  async pause(id: string): Promise<void> {
    await this.task('Pause', { id }, { timeoutMs: this.deadlines.runtimeMs });
  }

  async resume(id: string): Promise<void> {
    await this.task('Resume', { id }, { timeoutMs: this.deadlines.runtimeMs });
  }

  execSync(id: string, options: ExecSyncOptions): Promise<ExecSyncResult> {
    return this.#execs.run(id, options);
  }

  protected async createTask(request: Init<task.CreateTaskRequest> & { id: string; bundle: string }): Promise<number> {
    const { id, bundle } = request;
    if (this.#runtime === undefined) {
      const why = `the configuration no longer has the runtime handler "${this.info.runtime}" of its pod`;
      throw new RpcError(Code.FailedPrecondition, `cannot create container "${id}": ${why}`);
    }
    // The shim's `delete` command looks for its address there.
    writeFileSync(join(bundle, 'address'), this.info.address, { mode: 0o600 });
    if ((request.rootfs ?? []).length > 0) mkdirSync(join(bundle, 'rootfs'), { recursive: true, mode: 0o711 });
    const options = runtimeOptions(this.#runtime, this.#systemdCgroup);
    const all = options === undefined ? request : { ...request, options };
    return (await this.task('Create', all, { timeoutMs: this.deadlines.runtimeMs })).pid;
  }

  /** Calls the task service, in the version that the shim has. */
  protected task<Name extends TaskMethod>(
    name: Name,
    request: Init<RequestOf<(typeof taskV3)['methods'][Name]>> & { id?: string | undefined },
    options: ShimCallOptions,
  ): Promise<ResponseOf<(typeof taskV3)['methods'][Name]>> {
    const service = this.info.version === 3 ? taskV3 : taskV2;
    return this.connection.call(service, name, request, { about: `container "${request.id ?? ''}"`, ...options });
  }

  async #end(): Promise<void> {
    const name = `the shim of sandbox ${this.info.id}`;
    if (!this.connection.isOpen)
      throw new RpcError(Code.Unavailable, `${name} is gone: clean up after it instead of shutting it down`);
    try {
      await this.askToEnd();
    } catch (error) {
      // It may have ended before its answer came.
      if (!isRpcError(error, Code.Unavailable)) throw error;
    }
    await within(this.connection.whenGone, this.deadlines.shutdownMs);
    if (!(await hasEnded(this.info, this.deadlines.killMs)))
      throw new RpcError(Code.DeadlineExceeded, `${name} (pid ${this.info.pid}) was told to end and has not`);
    await this.disconnect();
    this.folder.remove(this.info);
  }
}

function exitOf({ exitStatus, exitedAt }: { exitStatus: number; exitedAt?: protobuf.Timestamp | undefined }): Exit {
  return { exitStatus, exitedAt: fromTimestamp(exitedAt) ?? 0n };
}

/** What the shim needs to find the OCI runtime; undefined for shims that have options of their own. */
function runtimeOptions(runtime: ResolvedRuntime, systemdCgroup: boolean): protobuf.Any | undefined {
  if (!runtime.takesRuncOptions) return undefined;
  return packAny(runc.Options, { binaryName: runtime.binary, root: runtime.root, systemdCgroup });
}
