import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { unmountAllUnder } from '../linux/index.ts';
import type { Spec } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { ShimContext } from './context.ts';
import { abortable, Deferred, withinMs } from './lock.ts';
import { requireState } from './process-state.ts';
import type { SandboxRecord } from './record.ts';
import { adaptToSandbox } from './sandbox-member.ts';

const cloneNewUts = 0x04000000;
const cloneNewIpc = 0x08000000;
const cloneNewPid = 0x20000000;
const cloneNewNet = 0x40000000;
/** `f_type` of the filesystem that namespaces' files are on. */
const nsfsMagic = 0x6e736673;
const sigkill = 9;
/** SIGKILL cannot be refused; past this the process is stuck in the kernel. */
const killTimeoutMs = 10_000;
const shmBytes = 64 * 1024 * 1024;

export interface SandboxExit {
  status: number;
  /** Nanoseconds since the epoch. */
  at: bigint;
}

/**
 * The pod: one small process that holds its IPC, UTS and PID namespaces (it is pid 1 of the last and reaps there), in the
 * network namespace that it was given. It comes from the shim's own binary, so no image is needed.
 */
export class Sandbox {
  readonly record: SandboxRecord;
  readonly #context: ShimContext;
  readonly #ended = new Deferred<SandboxExit>();

  constructor(record: SandboxRecord, context: ShimContext) {
    this.record = record;
    this.#context = context;
    if (record.state === 'stopped') this.#ended.resolve({ status: record.exitStatus, at: BigInt(record.exitedAt) });
  }

  /** After the program image was replaced: watches the process again. */
  resume(): void {
    if (this.record.state === 'ready') this.#watch();
  }

  /** @throws TtrpcError FAILED_PRECONDITION when it was not created or is started already */
  start(): SandboxRecord {
    const { record } = this;
    requireState(`sandbox "${record.id}"`, 'start', record.state, ['created']);
    const netns = this.#openNetns();
    try {
      this.#mountShm();
      record.pid = this.#context.native.spawn({
        file: this.#context.config.selfPath,
        argv: ['berth-pause', ...(record.hostname === '' ? [] : [record.hostname])],
        env: [],
        cwd: '/',
        fds: [-1, -1, -1],
        setsid: true,
        cloneFlags: cloneNewIpc | cloneNewUts | cloneNewPid | (netns === 'new' ? cloneNewNet : 0),
        joinNamespaces: typeof netns === 'number' ? [netns] : [],
      });
    } catch (cause) {
      this.#unmountShm();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new TtrpcError(Code.FailedPrecondition, `cannot start the process of sandbox "${record.id}": ${why}`, {
        cause,
      });
    } finally {
      if (typeof netns === 'number') closeSync(netns);
    }
    record.networkPath = netns === 'host' ? '' : `/proc/${record.pid}/ns/net`;
    record.state = 'ready';
    record.createdAt = this.#context.now().toString();
    this.#context.saveNow();
    this.#watch();
    return record;
  }

  /**
   * The network that the request names: a descriptor of its namespace, or the host's where it names none. A path that is no
   * namespace is no reason to let the pod into the host's network: it gets a new, unconnected one, and the log says so.
   */
  #openNetns(): number | 'host' | 'new' {
    const { netnsPath, id } = this.record;
    if (netnsPath === '') return 'host';
    try {
      if (statfsSync(netnsPath).type === nsfsMagic) return openSync(netnsPath, 'r');
    } catch (cause) {
      throw new TtrpcError(
        Code.FailedPrecondition,
        `the network namespace ${netnsPath} of sandbox "${id}" cannot be opened: create it first`,
        { cause },
      );
    }
    this.#context.log.warn('the sandbox gets a new, unconnected network: its path is no network namespace', {
      path: netnsPath,
    });
    return 'new';
  }

  #mountShm(): void {
    const path = join(this.record.bundle, 'shm');
    this.record.shmPath = path;
    this.#context.saveNow();
    mkdirSync(path, { recursive: true, mode: 0o1777 });
    this.#context.native.mount('shm', path, 'tmpfs', ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmBytes}`]);
  }

  #unmountShm(): void {
    const path = this.record.shmPath;
    if (path === '') return;
    unmountAllUnder(path, this.#context.native);
    if (existsSync(path)) rmdirSync(path);
    this.record.shmPath = '';
  }

  #watch(): void {
    this.#context.exits.on(this.record.pid, (exit) => {
      this.record.state = 'stopped';
      this.record.exitStatus = exit.exitCode;
      this.record.exitedAt = exit.atNanoseconds.toString();
      this.#context.save();
      this.#ended.resolve({ status: exit.exitCode, at: exit.atNanoseconds });
    });
  }

  /** Ends the sandbox's process. Its members must have ended before. A sandbox that is stopped already is no error. */
  async stop(): Promise<void> {
    if (this.record.state === 'ready') {
      this.#context.native.kill(this.record.pid, sigkill);
      if (!(await withinMs(this.#ended.promise, killTimeoutMs))) {
        throw new TtrpcError(
          Code.Internal,
          `process ${this.record.pid} of sandbox "${this.record.id}" does not end after SIGKILL`,
        );
      }
      // It was asked to end: that is no failure.
      this.record.exitStatus = 0;
    } else if (this.record.state === 'created') {
      this.record.state = 'stopped';
      this.record.exitedAt = this.#context.now().toString();
      this.#ended.resolve({ status: 0, at: BigInt(this.record.exitedAt) });
    }
    this.#unmountShm();
    this.#context.save();
  }

  async wait(signal: AbortSignal): Promise<SandboxExit> {
    const { at } = await abortable(this.#ended.promise, signal);
    return { status: this.record.exitStatus, at };
  }

  /** Makes a container's configuration that of a member. Says whether anything changed. */
  adapt(spec: Spec): boolean {
    requireState(`sandbox "${this.record.id}"`, 'create a container in', this.record.state, ['ready']);
    return adaptToSandbox(spec, this.record);
  }
}

export interface SandboxRequest {
  sandboxId: string;
  bundlePath: string;
  netnsPath: string;
  annotations: Readonly<Record<string, string>>;
}

export function newSandboxRecord(request: SandboxRequest): SandboxRecord {
  return {
    id: request.sandboxId,
    bundle: request.bundlePath,
    state: 'created',
    netnsPath: request.netnsPath,
    networkPath: '',
    pid: 0,
    createdAt: '',
    exitedAt: '',
    exitStatus: 0,
    annotations: { ...request.annotations },
    hostname: hostnameIn(request.bundlePath),
    shmPath: '',
  };
}

/** The hostname of the sandbox's own configuration, where its bundle has one. */
function hostnameIn(bundle: string): string {
  try {
    return (JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as Spec).hostname ?? '';
  } catch {
    return '';
  }
}
