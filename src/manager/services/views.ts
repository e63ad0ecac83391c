import type { LevelWithSilent } from 'pino';
import type { protobuf } from '../../wire/index.ts';
import type { JournalEvent, NewEvent } from '../events/index.ts';

/** The containerd namespace of everything that CRI has made. */
export const criNamespace = 'k8s.io';

/** A container as containerd's clients see it. */
export interface ContainerView {
  readonly id: string;
  /** The pod sandbox that it is in; '' for none. */
  readonly sandboxId: string;
  /** What it was made of, as a name. */
  readonly image: string;
  /** Such as "io.containerd.berth.v2". */
  readonly runtime: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Nanoseconds since the epoch. */
  readonly createdAt: bigint;
  readonly updatedAt: bigint;
}

/** The containers that there are. */
export interface ContainerDirectory {
  list(): readonly ContainerView[];
  find(id: string): ContainerView | undefined;
  /** Its OCI specification; undefined when there is none to be had. */
  spec(id: string): Promise<unknown>;
}

/** What runs, or has run, in a container. */
export interface TaskView {
  readonly containerId: string;
  /** 0 when nothing runs. */
  readonly pid: number;
  readonly status: 'created' | 'running' | 'paused' | 'stopped';
  readonly terminal: boolean;
  readonly exitStatus: number;
  /** Nanoseconds since the epoch; 0: it has not ended. */
  readonly exitedAt: bigint;
}

export interface TaskExit {
  readonly exitStatus: number;
  /** Nanoseconds since the epoch. */
  readonly exitedAt: bigint;
}

/** The tasks that there are. What is asked of one by its id throws RpcError: NOT_FOUND, FAILED_PRECONDITION, or what its shim says. */
export interface TaskDirectory {
  list(): readonly TaskView[];
  find(containerId: string): TaskView | undefined;
  /** Starts a container that was created; gives its pid. */
  start(containerId: string): Promise<number>;
  kill(containerId: string, signal: number, all: boolean): Promise<void>;
  /** Resolves at once for one that has ended. */
  wait(containerId: string, signal: AbortSignal): Promise<TaskExit>;
  pids(containerId: string): Promise<readonly number[]>;
  pause(containerId: string): Promise<void>;
  resume(containerId: string): Promise<void>;
  /** @param resources LinuxResources of the OCI runtime specification */
  update(containerId: string, resources: object): Promise<void>;
  /** A message of io.containerd.cgroups; undefined when there are none. */
  metrics(containerId: string): Promise<protobuf.Any | undefined>;
  /** Lets the shim forget a task that has ended. */
  delete(containerId: string): Promise<void>;
}

/** What has happened, and what happens: EventJournal. */
export interface JournalView {
  readonly last: bigint;
  subscribe(options: {
    readonly after?: bigint | undefined;
    readonly signal: AbortSignal;
    readonly follow: boolean;
  }): AsyncIterable<JournalEvent>;
  append(event: NewEvent): bigint | undefined;
}

/** What berth.v1.Daemon tells. */
export interface DaemonView {
  counts(): { readonly sandboxes: number; readonly containers: number; readonly images: number };
  /** Of the runtimes that are configured, and why it is that one. */
  defaultRuntime(): { readonly name: string; readonly reason: string };
  logLevel(): string;
  setLogLevel(level: LevelWithSilent): void;
}

/** What does not change while the daemon runs. */
export interface DaemonFacts {
  readonly version: string;
  /** Nanoseconds since the epoch. */
  readonly startedAt: bigint;
  readonly root: string;
  readonly state: string;
  /** The configuration in force, as TOML. */
  readonly config: string;
  /** Of this installation; it is in a file of `root`. */
  readonly uuid: string;
}
