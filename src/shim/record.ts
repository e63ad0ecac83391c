import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * All state of a shim, as plain values: what is written to the bundles when it changes, and what is handed from one
 * program image to the next when the shim replaces itself. Nothing that must survive lives anywhere else.
 * Fields are only ever added, with a default for records that lack them, so that an older or newer shim can read a record.
 */
export interface ShimRecord {
  version: 1;
  /** Containerd namespace, and the id of the container or sandbox that the shim was started for. */
  namespace: string;
  id: string;
  /** The bundle that the shim was started in. */
  bundle: string;
  socketPath: string;
  /** Where short-lived sockets (console, attach) are made: short enough for a unix socket's path. */
  socketFolder: string;
  /** Where events go: a ttRPC address; '' when nobody wants them. */
  eventsAddress: string;
  /** The manager's own address, only passed on. */
  managerAddress: string;
  debug: boolean;
  /** Nanoseconds since the epoch, decimal. */
  startedAt: string;
  sandbox: SandboxRecord | null;
  containers: ContainerRecord[];
  events: EventRecord[];
  nextEventSequence: number;
  /** The next number for a pump object (output, input, client, watch). */
  nextLoopId: number;
  /** How often the program image was replaced: by an upgrade, and by waking up. */
  upgrades: number;
  wakes: number;
  /** Idle seconds before the next sleep; grows when sleep was short. */
  idleSeconds: number;
  /** Attach sockets and their tokens that were given out and not used yet. */
  attach: AttachRecord | null;
}

export interface SandboxRecord {
  id: string;
  bundle: string;
  state: 'created' | 'ready' | 'stopped';
  /** As the request named it; '' is the host's network. */
  netnsPath: string;
  /** What members join; '' is the host's network. */
  networkPath: string;
  /** The process that holds the namespaces, 0 before StartSandbox. */
  pid: number;
  createdAt: string;
  exitedAt: string;
  exitStatus: number;
  annotations: Record<string, string>;
  hostname: string;
  /** The tmpfs that members with a shared IPC namespace get as /dev/shm; '' when not mounted. */
  shmPath: string;
}

export interface RuntimeRecord {
  binary: string;
  root: string;
  systemdCgroup: boolean;
  noPivotRoot: boolean;
  noNewKeyring: boolean;
  criuWorkPath: string;
  ioUid: number;
  ioGid: number;
}

export interface ContainerRecord {
  id: string;
  bundle: string;
  runtime: RuntimeRecord;
  /** The rootfs was mounted by the shim, which unmounts it. */
  hasMounts: boolean;
  ownPidNamespace: boolean;
  paused: boolean;
  /** Image to restore from at start; '' for a container made the usual way. */
  checkpoint: string;
  parentCheckpoint: string;
  /** Directories of the container's cgroups by controller ('' is the unified hierarchy). */
  cgroups: Record<string, string>;
  /** OOM kills that were reported already. */
  oomKills: number;
  /** The first process, and exec processes by id. */
  init: ProcessRecord;
  execs: ProcessRecord[];
}

export interface StdioRecord {
  stdin: string;
  stdout: string;
  stderr: string;
  terminal: boolean;
}

export type ProcessStateName = 'created' | 'running' | 'stopped' | 'deleted';

export interface ProcessRecord {
  /** '' for the first process of a container. */
  execId: string;
  state: ProcessStateName;
  stdio: StdioRecord;
  pid: number;
  /** Set when the process has ended, also before that is announced. */
  exit: ExitRecord | null;
  /** Ids in the pump; 0: none. */
  input: number;
  outputs: OutputRecord[];
  /** Descriptor of the pty master, -1: none. */
  console: number;
  /** Descriptor of the process's pidfd, -1: none. */
  pidfd: number;
  /** Pid of a `binary://` logger, 0: none. */
  logger: number;
  /** What an exec that is not started will run (JSON of an OCI process). */
  spec: string;
}

export interface OutputRecord {
  id: number;
  stream: 'stdout' | 'stderr';
  /** The reader of its FIFO is gone. */
  spooling: boolean;
}

export interface ExitRecord {
  status: number;
  /** Nanoseconds since the epoch, decimal. */
  at: string;
}

export interface EventRecord {
  sequence: number;
  topic: string;
  /** Nanoseconds since the epoch, decimal. */
  at: string;
  /** Full name of the event's message, and its bytes in base64. */
  type: string;
  value: string;
}

export interface AttachRecord {
  path: string;
  listener: number;
  tokens: AttachToken[];
  /** Clients in the pump, by container. */
  clients: { id: number; containerId: string }[];
}

export interface AttachToken {
  token: string;
  expiresAtMs: number;
  containerId: string;
  execId: string;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

export const shimRecordFile = 'berth-shim.json';
export const containerRecordFile = 'berth-container.json';
/** What the `delete` command has answered. */
export const answerFile = 'berth-deleted';

/** Replaces the file in one step: a reader sees the old or the new record, also after a crash. */
export function writeRecord(bundle: string, file: string, record: ShimRecord | ContainerRecord): void {
  const path = join(bundle, file);
  writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** undefined when there is none, or none that can be read. */
export function readContainerRecord(bundle: string): ContainerRecord | undefined {
  return readJson(join(bundle, containerRecordFile)) as ContainerRecord | undefined;
}

export function readShimRecord(bundle: string): ShimRecord | undefined {
  return readJson(join(bundle, shimRecordFile)) as ShimRecord | undefined;
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
