import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Code, RpcError } from '../../grpc/index.ts';
import type { NativeAddon } from '../../linux/index.ts';
import { BerthPodShim } from './berth-pod-shim.ts';
import { type Deadlines, defaultDeadlines } from './deadlines.ts';
import { OtherPodShim } from './other-pod-shim.ts';
import type { PodShim } from './pod-shim.ts';
import { identityOf } from './process-identity.ts';
import { type ResolvedRuntime, type ResolvedRuntimes, runtimeNamed } from './runtimes.ts';
import { SandboxFolder, sandboxFolders } from './sandbox-folder.ts';
import { type CleanedUp, type LostContainer, ShimCleanup } from './shim-cleanup.ts';
import { ShimCommand } from './shim-command.ts';
import { ShimConnection } from './shim-connection.ts';
import { notedShimInfo, noteShimInfo, type ShimInfo } from './shim-info.ts';
import { askPid } from './shim-pid.ts';
import { ShimLog } from './shim-log.ts';
import { ShimPool } from './shim-pool.ts';
import type { TaskShim } from './task-shim.ts';

export interface ShimsOptions {
  /** STATE; it is there. */
  readonly stateFolder: string;
  /** The manager's gRPC socket, which names this manager to its shims. */
  readonly managerAddress: string;
  /** The path where a ShimEventsServer listens. */
  readonly eventsAddress: string;
  /** containerd's namespace of all that is made. */
  readonly namespace: string;
  readonly native: NativeAddon;
  readonly log: Logger;
  readonly runtimes: ResolvedRuntimes;
  /** Absolute path of our own shim. */
  readonly shimBinary: string;
  /** Whether systemd makes the cgroups. */
  readonly systemdCgroup: boolean;
  /** What shims, and all that they run, inherit: PATH at least. */
  readonly environment: Readonly<Record<string, string>>;
  /** How many shims of ours wait, started, for the next pod. */
  readonly poolSize: number;
  /** Idle seconds before a shim of ours sleeps; 0: never. Default: the shim's. */
  readonly sleepAfterSeconds?: number;
  readonly deadlines?: Partial<Deadlines>;
}

/** A shim that runs, and the connection to it. */
interface StartedShim {
  readonly info: ShimInfo;
  readonly connection: ShimConnection;
  readonly folder: SandboxFolder;
  readonly shimLog: ShimLog;
}

/**
 * The shims of all pods. They are processes of their own and outlive this one: what is known of them is in ShimInfo, which the
 * caller keeps, and in STATE/sandboxes/ID.
 *
 * @example
 * const shim = await shims.take('runc');
 * const { pid } = await shim.startSandbox({ hostname: 'web', netnsPath, annotations: {} });
 */
export class Shims {
  readonly #options: ShimsOptions;
  readonly #deadlines: Deadlines;
  readonly #command: ShimCommand;
  readonly #cleanup: ShimCleanup;
  readonly #pool: ShimPool<StartedShim>;
  /** Ids that this process has given. */
  readonly #own = new Set<string>();
  readonly #open = new Set<TaskShim>();
  readonly #takingUp = new Set<Promise<void>>();

  constructor(options: ShimsOptions) {
    this.#options = options;
    this.#deadlines = { ...defaultDeadlines, ...options.deadlines };
    const socketFolder = join(options.stateFolder, 's');
    this.#command = new ShimCommand({ ...options, socketFolder }, this.#deadlines);
    this.#cleanup = new ShimCleanup({ ...options, command: this.#command, deadlines: this.#deadlines });
    this.#pool = new ShimPool({
      size: options.poolSize,
      isWell: ({ connection }) => connection.isOpen,
      start: (signal) => this.#start(this.#pooled, signal),
      discard: (started) => this.#discard(started),
      log: options.log,
    });
  }

  /** How many shims wait in the pool. */
  get ready(): number {
    return this.#pool.ready;
  }

  /**
   * A shim for a new pod; its id is to be the sandbox's.
   * @param runtime a handler's name, '' for the default
   * @throws RpcError NOT_FOUND, FAILED_PRECONDITION for a handler that is none or does not work here; UNAVAILABLE, DEADLINE_EXCEEDED
   */
  async take(runtime: string, signal?: AbortSignal): Promise<PodShim> {
    return await (
      await this.reserve(runtime, signal)
    ).shim;
  }

  /**
   * The same for who has something to do with the id while the shim is being started.
   * @throws RpcError as `take` for the handler; what its start fails with is what `shim` rejects with
   */
  async reserve(runtime: string, signal?: AbortSignal): Promise<{ id: string; shim: Promise<PodShim> }> {
    const resolved = runtimeNamed(runtime, this.#options.runtimes);
    const waiting = resolved.ours ? await this.#pool.take() : undefined;
    if (waiting !== undefined) {
      const info = { ...waiting.info, runtime: resolved.name };
      noteShimInfo(info);
      return { id: info.id, shim: Promise.resolve(this.#podShim({ ...waiting, info }, resolved)) };
    }
    const id = newId();
    return { id, shim: this.#start(resolved, signal, id).then((started) => this.#podShim(started, resolved)) };
  }

  /**
   * The shim of a pod that another manager has started. Execs that its ExecSync calls left behind are ended in the background.
   * @throws RpcError UNAVAILABLE when it is gone, DEADLINE_EXCEEDED when it hangs
   */
  async connect(info: ShimInfo, timeoutMs: number): Promise<PodShim> {
    const folder = this.#folder(info.id);
    const shimLog = this.#shimLog(info.id, folder);
    let connection: ShimConnection | undefined;
    try {
      connection = await this.#dial(info, timeoutMs);
      await askPid(connection, info, timeoutMs);
    } catch (error) {
      connection?.close();
      shimLog.close();
      throw error;
    }
    const started = { info, connection, folder, shimLog };
    const shim = this.#podShim(started, this.#options.runtimes.handlers.get(info.runtime));
    const takingUp = shim.takeUp().catch((error: unknown) => {
      this.#options.log.warn(
        { err: error, sandbox: info.id },
        'what an earlier manager has left in a pod cannot be taken up',
      );
    });
    this.#takingUp.add(takingUp);
    void takingUp.finally(() => this.#takingUp.delete(takingUp));
    return shim;
  }

  /**
   * Undoes what a dead or hung shim has left, and ends it if it lives: its processes, mounts, cgroups, socket and bundle, those of its
   * containers too (but not their bundles). Idempotent, bounded.
   * @returns how the sandbox and its containers ended; undefined when nothing was left
   */
  async cleanUp(info: ShimInfo, containers: readonly LostContainer[] = []): Promise<CleanedUp | undefined> {
    for (const shim of this.#open) if (shim.info.id === info.id) await shim.disconnect();
    this.#own.delete(info.id);
    return await this.#cleanup.run(info, containers);
  }

  /** The ids under STATE/sandboxes that no record knows and that are not this process's: those of an earlier manager's pool, mostly. */
  abandoned(known: ReadonlySet<string>): string[] {
    return sandboxFolders(this.#options.stateFolder).filter((id) => !known.has(id) && !this.#own.has(id));
  }

  /**
   * `cleanUp` of an abandoned one, from what its folder tells. Mostly it was given nothing; one that has containers, of a store that was
   * lost, ends them itself.
   */
  async cleanUpAbandoned(id: string): Promise<void> {
    const folder = this.#folder(id);
    const { shimBinary } = this.#options;
    const unknown = {
      id,
      runtime: '',
      shimBinary,
      address: '',
      version: 3,
      ours: true,
      pid: 0,
      startTicks: '',
    } as const;
    const noted = notedShimInfo(folder.path) ?? unknown;
    const info = { ...noted, id, bundle: folder.path };
    if (info.address !== '' && info.ours) await this.#askToEnd(info);
    await this.#cleanup.run(info, []);
  }

  async #askToEnd(info: ShimInfo): Promise<void> {
    try {
      await (await this.connect(info, this.#deadlines.connectMs)).shutdown();
    } catch (error) {
      this.#options.log.debug({ err: error, sandbox: info.id }, 'a shim that nobody owns does not end by itself');
    }
  }

  /** Ends the shims that wait in the pool, and lets go of all others, which stay. */
  async close(): Promise<void> {
    await this.#pool.close();
    await Promise.all([...this.#open].map((shim) => shim.disconnect()));
    await Promise.all(this.#takingUp);
  }

  /** What a shim in the pool is started as: the OCI runtime is told to ours with each container. */
  get #pooled(): ResolvedRuntime {
    const { shimBinary } = this.#options;
    return { name: '', shimBinary, ours: true, binary: '', root: '', takesRuncOptions: true };
  }

  /** Nothing is left of it when this rejects. */
  async #start(runtime: ResolvedRuntime, signal?: AbortSignal, id = newId()): Promise<StartedShim> {
    this.#own.add(id);
    const folder = this.#folder(id);
    const { name, shimBinary, ours } = runtime;
    const unknown = { address: '', version: 3, pid: 0, startTicks: '' } as const;
    let info: ShimInfo = { id, runtime: name, shimBinary, bundle: folder.path, ours, ...unknown };
    let shimLog: ShimLog | undefined;
    let connection: ShimConnection | undefined;
    try {
      folder.make();
      noteShimInfo(info);
      folder.writeSpec({ annotations: {} });
      shimLog = this.#shimLog(id, folder);
      info = { ...info, ...(await this.#command.start(info, signal)) };
      connection = await this.#dial(info, this.#deadlines.connectMs, signal);
      const identity = identityOf(await askPid(connection, info, this.#deadlines.answerMs, signal));
      if (identity === undefined) throw new RpcError(Code.Unavailable, `the new shim of sandbox ${id} has ended`);
      info = { ...info, ...identity };
      noteShimInfo(info);
      return { info, connection, folder, shimLog };
    } catch (error) {
      connection?.close();
      shimLog?.close();
      await this.#cleanup.run(info, []);
      throw error;
    }
  }

  async #discard(started: StartedShim): Promise<void> {
    const shim = this.#podShim(started, undefined);
    try {
      await shim.shutdown();
    } catch (error) {
      this.#options.log.debug({ err: error, sandbox: started.info.id }, 'a shim of the pool is cleaned up after');
      await shim.disconnect();
      await this.#cleanup.run(started.info, []);
    }
  }

  #podShim(started: StartedShim, runtime: ResolvedRuntime | undefined): TaskShim {
    const { native, systemdCgroup, shimBinary: launcher, environment, log } = this.#options;
    const parts = { ...started, native, deadlines: this.#deadlines, runtime, systemdCgroup };
    const shim = started.info.ours ? new BerthPodShim(parts) : new OtherPodShim(parts, { launcher, environment, log });
    this.#open.add(shim);
    void shim.whenGone.then(() => shim.disconnect()).then(() => this.#open.delete(shim));
    return shim;
  }

  #folder(id: string): SandboxFolder {
    return new SandboxFolder(this.#options.stateFolder, id, this.#options.native);
  }

  #shimLog(id: string, folder: SandboxFolder): ShimLog {
    return new ShimLog(folder.logPath, this.#options.native, this.#options.log.child({ shim: id }));
  }

  #dial({ id, address }: ShimInfo, timeoutMs: number, signal?: AbortSignal): Promise<ShimConnection> {
    return ShimConnection.open(address, { name: id, namespace: this.#options.namespace, timeoutMs, signal });
  }
}

function newId(): string {
  return randomBytes(32).toString('hex');
}
