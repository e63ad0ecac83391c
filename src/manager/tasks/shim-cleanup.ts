import { nowNanoseconds } from '../../wire/index.ts';
import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import { isRpcError } from '../../grpc/index.ts';
import type { NativeAddon } from '../../linux/index.ts';
import { endLogs } from './container-log.ts';
import type { Deadlines } from './deadlines.ts';
import { identityOf, killProcess } from './process-identity.ts';
import { SandboxFolder } from './sandbox-folder.ts';
import type { Exit, ShimCommand } from './shim-command.ts';
import { ShimConnection } from './shim-connection.ts';
import type { ShimInfo } from './shim-info.ts';
import { askPid } from './shim-pid.ts';

/** A container whose shim is lost. */
export interface LostContainer {
  readonly id: string;
  readonly bundle: string;
}

/** What is known of the ends: 137, now, where a shim saw none. */
export interface CleanedUp extends Exit {
  /** By id; those of which nothing could be found out are missing. */
  readonly containers: ReadonlyMap<string, Exit>;
}

/** How many sandboxes are cleaned up at once: each takes some processes. */
const maxAtOnce = 4;
/** A shim that works answers at once. */
const pingMs = 2000;

/** Undoes what dead and hung shims have left, each within a bound, whatever state it is in. */
export class ShimCleanup {
  readonly #stateFolder: string;
  readonly #namespace: string;
  readonly #command: ShimCommand;
  readonly #native: NativeAddon;
  readonly #deadlines: Deadlines;
  readonly #log: Logger;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(o: {
    stateFolder: string;
    namespace: string;
    command: ShimCommand;
    native: NativeAddon;
    deadlines: Deadlines;
    log: Logger;
  }) {
    this.#stateFolder = o.stateFolder;
    this.#namespace = o.namespace;
    this.#command = o.command;
    this.#native = o.native;
    this.#deadlines = o.deadlines;
    this.#log = o.log;
  }

  /** Idempotent; undefined when nothing is left. */
  async run(info: ShimInfo, containers: readonly LostContainer[]): Promise<CleanedUp | undefined> {
    if (this.#running >= maxAtOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#running++;
    try {
      return await this.#run(info, containers);
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
  }

  async #run(info: ShimInfo, containers: readonly LostContainer[]): Promise<CleanedUp | undefined> {
    const folder = new SandboxFolder(this.#stateFolder, info.id, this.#native);
    const left = containers.filter(({ bundle }) => existsSync(bundle));
    const isThere = existsSync(folder.path);
    if (!isThere && left.length === 0) return undefined;
    const address = info.address === '' ? folder.address : info.address;
    const answering = await this.#pidOf(info, address);
    const identity = info.pid > 0 ? info : identityOf(answering ?? 0);
    const kill = async () => {
      if (identity !== undefined && !(await killProcess(identity, this.#native, this.#deadlines.killMs)))
        this.#log.error({ sandbox: info.id, pid: info.pid }, 'a shim does not end after SIGKILL');
    };
    // One that hangs would hold everything up, and may come back and do things. One that works is asked by `delete`, and tells more.
    if (answering === undefined) await kill();
    const ends = await Promise.all(
      left.map(async ({ id, bundle }) => [id, await this.#delete(info, id, bundle)] as const),
    );
    const end = isThere ? await this.#delete(info, info.id, folder.path) : undefined;
    await kill();
    await endLogs(folder.ioFolder, this.#native).catch((err: unknown) =>
      this.#log.error({ sandbox: info.id, err }, 'a process that wrote a log cannot be ended'),
    );
    folder.remove({ address });
    const found = ends.flatMap(([id, exit]): [string, Exit][] => (exit === undefined ? [] : [[id, exit]]));
    return { ...(end ?? killedNow()), containers: new Map(found) };
  }

  /** The pid of the shim if it answers, soon; undefined if it does not. */
  async #pidOf(info: ShimInfo, address: string): Promise<number | undefined> {
    if (address === '') return undefined;
    let connection: ShimConnection | undefined;
    try {
      const options = { name: info.id, namespace: this.#namespace, timeoutMs: pingMs };
      connection = await ShimConnection.open(address, options);
      return await askPid(connection, info, pingMs);
    } catch (error) {
      if (!isRpcError(error)) throw error;
      return undefined;
    } finally {
      connection?.close();
    }
  }

  async #delete(info: ShimInfo, id: string, bundle: string): Promise<Exit | undefined> {
    try {
      return await this.#command.delete(info, id, bundle);
    } catch (error) {
      if (!isRpcError(error)) throw error;
      this.#log.warn(
        { err: error, sandbox: info.id, container: id },
        'a lost shim cannot be cleaned up after by its own command',
      );
      return undefined;
    }
  }
}

function killedNow(): Exit {
  return { exitStatus: 137, exitedAt: nowNanoseconds() };
}
