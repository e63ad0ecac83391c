import type { protobuf, task, types } from '../../wire/index.ts';
import type { ExecSyncOptions, ExecSyncResult } from './exec-sync.ts';
import type { Exit } from './shim-command.ts';
import type { ShimInfo } from './shim-info.ts';

export interface StartSandboxOptions {
  /** '' for none of its own. */
  readonly hostname: string;
  /** Path of the pod's network namespace; '' for the host's. */
  readonly netnsPath: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** Where the sandbox's own process is, of shims that make a container for it. Default: as the OCI runtime has it. */
  readonly cgroupsPath?: string;
}

export interface CreateTaskOptions {
  readonly id: string;
  /** The folder with its config.json. */
  readonly bundle: string;
  readonly rootfs: readonly types.Mount[];
  /** Where the CRI log goes; '' for nowhere. */
  readonly logPath: string;
  readonly terminal: boolean;
  /** Whether it has a stdin at all. */
  readonly stdin: boolean;
  /** Whether the first client that closes stdin closes it for the container. */
  readonly stdinOnce: boolean;
}

/**
 * A pod's shim, our own or another. All calls have deadlines; they reject with RpcErrors of the shim's codes, with UNAVAILABLE when
 * it is gone.
 */
export interface PodShim {
  readonly info: ShimInfo;
  /** Resolves with the reason once the shim is gone for good (or this manager has let go of it). */
  readonly whenGone: Promise<string>;
  readonly isOpen: boolean;

  startSandbox(options: StartSandboxOptions): Promise<{ pid: number; createdAt: bigint }>;
  /**
   * Resolves when the process that holds the sandbox's namespaces has ended; rejects when the shim goes first. Never settles for
   * shims that tell of it by an event.
   */
  sandboxEnded(): Promise<void>;
  /** Ends the sandbox's process and, in our own shim, its members: gently first when there is time. Idempotent. */
  stopSandbox(timeoutSeconds: number): Promise<void>;
  /**
   * Ends the sandbox and the shim, and removes its bundle, all of STATE/sandboxes/ID. Our own shim ends its containers as well; those of
   * others must have been deleted. Idempotent.
   * @throws RpcError UNAVAILABLE when the shim was gone before: then `Shims.cleanUp` is what to call; DEADLINE_EXCEEDED
   */
  shutdown(): Promise<void>;

  /** Makes a container; gives its pid. */
  create(options: CreateTaskOptions): Promise<number>;
  /** Gives the pid. */
  start(id: string, execId?: string): Promise<number>;
  kill(id: string, signal: number, options?: { execId?: string; all?: boolean }): Promise<void>;
  /** Waits for the end, without a bound but `signal`; also through a loss of the connection that the shim outlives. */
  wait(id: string, execId?: string, signal?: AbortSignal): Promise<Exit>;
  delete(id: string, execId?: string): Promise<Exit & { pid: number }>;
  state(id: string): Promise<task.StateResponse>;
  pids(id: string): Promise<number[]>;
  /** io.containerd.cgroups.v1.Metrics or v2's. */
  stats(id: string): Promise<protobuf.Any | undefined>;
  /** @param resources LinuxResources of the OCI runtime specification */
  update(id: string, resources: object): Promise<void>;
  /** Of a container that has ended: resolves when all of its output is in its log, soon at the latest. */
  outputWritten(id: string): Promise<void>;
  /** Goes on in a new file of the same name, after the old one was renamed. */
  reopenLog(id: string): Promise<void>;
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  /** Runs a program in the container to its end. */
  execSync(id: string, options: ExecSyncOptions): Promise<ExecSyncResult>;
}
