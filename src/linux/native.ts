/**
 * The addon's shape. Every call is synchronous and never blocks (but `spawn`, until the child has called exec, and `mount`).
 * A failed system call throws an `Error` with `code` (`'ENOENT'`), `errno` (positive), `syscall` and, where there is one, `path`.
 */
import { createRequire } from 'node:module';

export interface SpawnOptions {
  /** Absolute path of the program. */
  file: string;
  /** All of argv, argv[0] included. */
  argv: string[];
  /** `NAME=value`; nothing is inherited. */
  env: string[];
  /** Working directory; default: the caller's. */
  cwd?: string;
  /** Index: descriptor number in the child; value: the caller's descriptor. -1 is /dev/null. Everything else is closed. */
  fds: number[];
  /** Own session. Default false. */
  setsid?: boolean;
  /** Signal that the child gets when the thread that spawned it ends. Default none. */
  parentDeathSignal?: number;
  /** CLONE_NEW* bits for the child; with CLONE_NEWPID the child is pid 1 there. Default 0. */
  cloneFlags?: number;
  /** Descriptors of namespaces that the child enters before exec (and before cloneFlags' take effect is not needed). */
  joinNamespaces?: number[];
  /** Directories of cgroups the child moves itself into before exec (writes 0 to cgroup.procs). */
  cgroups?: string[];
  /** Written to /proc/self/oom_score_adj before exec; -1000 to 1000. A refusal is not an error. */
  oomScoreAdj?: number;
  /**
   * Soft limit of open descriptors, at most the hard one. Default: the caller's, which Node has raised to the hard one; what it was
   * before is in BERTH_OPEN_FILES (src/native/launcher).
   */
  openFiles?: number;
}

/** One child that has ended and that `collect` has not yet been called for. */
export interface ChildExit {
  pid: number;
  /** 0 to 255; 128 + signal for a child that a signal ended. */
  exitCode: number;
  /** The signal that ended it, or 0. */
  signal: number;
  /** Nanoseconds since the epoch, when the reaper saw it. */
  atNanoseconds: bigint;
}

export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

/** Events of the loop, in order. */
export type LoopEvent =
  | { kind: 'ready'; id: number; bits: number }
  | { kind: 'drained'; id: number; outcome: 'delivered' | 'spooled' | 'lost' }
  | { kind: 'outputEnded'; id: number; errno: number }
  | { kind: 'inputEnded'; id: number; errno: number }
  | { kind: 'clientGone'; id: number; reason: 'left' | 'slow' | 'protocol' | 'ended' }
  | { kind: 'sinkError'; id: number; errno: number }
  | { kind: 'spooling'; id: number; active: boolean }
  | ({ kind: 'exit' } & ChildExit);

export interface OutputOptions {
  id: number;
  source: number;
  sourceIsPty: boolean;
  sink:
    | { kind: 'null' }
    | { kind: 'fifo'; path: string; spoolPath: string; spoolLimitBytes: number }
    | { kind: 'file'; path: string }
    | { kind: 'cri'; path: string; stream: 'stdout' | 'stderr'; maxBytes: number }
    | { kind: 'fd'; fd: number };
}

export interface InputOptions {
  id: number;
  dest: number;
  destIsPty: boolean;
  fifoPath?: string;
}

/** pump.h, one method a function; and the reaper. One Loop a process. */
export interface Loop {
  /**
   * Starts the loop's thread and the reaper's. `onEvents` is called on the JavaScript thread with what happened since the last call.
   * The reaper looks (waitid, WNOWAIT), reports `exit`, and looks for the next child only after `collect`.
   * What `onEvents` throws is an uncaught exception. The process stays alive while it is started.
   */
  start(onEvents: (events: LoopEvent[]) => void): void;
  /**
   * Stops both threads; after it nothing more is reported. What was not collected is seen again by the next start, also after exec.
   * What has happened and was not reported yet is reported before it returns, by a call of `onEvents`: so call it from outside of one.
   */
  stop(): void;
  /** Removes the zombie of a reported exit, also while stopped. Throws ECHILD for what is no child, EAGAIN for one that has not ended. */
  collect(pid: number): void;
  addOutput(options: OutputOptions): void;
  drainOutput(id: number, graceMilliseconds: number): void;
  finishOutput(id: number, graceMilliseconds: number): void;
  removeOutput(id: number): void;
  reopenOutput(id: number): void;
  addInput(options: InputOptions): void;
  closeInput(id: number): void;
  removeInput(id: number): void;
  addClient(id: number, fd: number, input: number, stdout: number, stderr: number): void;
  removeClient(id: number): void;
  watch(id: number, fd: number, bits: number): void;
  unwatch(id: number): void;
  isIdle(): boolean;
  /** Writes the pump's state into a new memfd and returns it. Only while stopped. */
  save(): number;
  descriptors(): number[];
}

export interface NativeAddon {
  /** A new, empty pump, or one restored from a descriptor that `save` returned (which is closed). */
  createLoop(savedState?: number): Loop;

  spawn(options: SpawnOptions): number;
  setSubreaper(): void;
  pidfdOpen(pid: number): number;
  pidfdSendSignal(pidfd: number, signal: number): void;
  kill(pid: number, signal: number): void;
  /** PR_SCHED_CORE: creates a new cookie for a process group or process. scope: 0 thread, 1 thread group, 2 process group. */
  createCoreSchedulingCookie(pid: number, scope: number): void;

  /** Both ends close-on-exec. */
  pipe(): [read: number, write: number];
  close(fd: number): void;
  /** A duplicate, close-on-exec. */
  duplicate(fd: number): number;
  /** dup2 without close-on-exec: for the standard descriptors. */
  duplicateTo(fd: number, target: number): void;
  /**
   * flock(2), for one holder alone: false when another open file of the same has it. It is given back when the last duplicate of
   * the descriptor is closed, so at the latest when the process ends.
   */
  tryLock(fd: number): boolean;
  /** false where a descriptor of that number is not open. */
  setCloseOnExec(fd: number, on: boolean): boolean;
  memfd(name: string): number;
  /** A listening unix stream socket, non-blocking, with these permission bits. Fails with EADDRINUSE when the path exists. */
  listenUnix(path: string, backlog: number, mode: number): number;
  /** A connected unix stream socket, non-blocking. Paths over 107 bytes are reached through their directory's descriptor. */
  connectUnix(path: string): number;
  /** A connected pair of unix stream sockets. */
  socketPair(): [number, number];
  /** The next connection, non-blocking; -1 when there is none. */
  accept(fd: number): number;
  peerCredentials(fd: number): PeerCredentials;
  /**
   * One unix datagram of text, without waiting: EAGAIN when the receiver's queue is full, ECONNREFUSED or ENOENT when there is none.
   * A path that begins with "@" is in the abstract name space.
   */
  sendDatagram(path: string, text: string): void;
  /** Bytes read, 0 at end of file, -1 when nothing is there yet. */
  read(fd: number, into: Uint8Array): number;
  /** Bytes written, -1 when nothing can be written now. EPIPE throws. */
  write(fd: number, from: Uint8Array): number;
  /**
   * SCM_RIGHTS: the first descriptor of the next message (close-on-exec), -1 when nothing is there yet.
   * Throws ECONNRESET at end of file, EBADMSG for a message without a descriptor.
   */
  receiveDescriptor(fd: number): number;

  windowSize(fd: number): { columns: number; rows: number };
  setWindowSize(fd: number, columns: number, rows: number): void;
  mkfifo(path: string, mode: number): void;
  /**
   * Mounts with fstab options ("ro", "rbind", "nosuid", "lowerdir=…"): flags are told from data; propagation flags and a read-only
   * bind take further mount calls. Option lists longer than a page are handled for overlay by mounting from a common directory.
   */
  mount(source: string, target: string, type: string, options: string[]): void;
  /** flags: MNT_DETACH is 2, UMOUNT_NOFOLLOW is 8. */
  umount(target: string, flags: number): void;
  /** Attaches an image file to a free loop device with autoclear; returns its path and a descriptor that keeps it until it is mounted. */
  attachLoopDevice(file: string, readOnly: boolean): { device: string; fd: number };
  /**
   * Makes a namespace in a thread of its own and bind-mounts it at path, which is created as an empty file (EEXIST when it exists).
   * A new network namespace has lo up.
   */
  pinNewNamespace(kind: 'net' | 'ipc' | 'uts', path: string): void;
  /**
   * Descriptors of files in what the layers (absolute folders, topmost first) make together, looked up with that as the root: no
   * link leads out of it. Each only names its file (O_PATH) and opens nothing, whatever the file is; read a regular one by
   * /proc/self/fd/N. -1: there is no such file. Several layers are put together by a mount that only this call sees.
   */
  openInLayers(layers: readonly string[], paths: readonly string[]): number[];
  /**
   * Makes a device, FIFO or socket; `mode` includes its type (S_IFCHR…) and is exact. Paths here are bytes where they are no UTF-8,
   * and their last component is never followed.
   */
  mknod(path: string | Buffer, mode: number, major: number, minor: number): void;
  setXattr(path: string | Buffer, name: string, value: Buffer): void;
  /** undefined where there is none of that name, or where the file system has none at all. */
  getXattr(path: string | Buffer, name: string): Buffer | undefined;
  listXattrs(path: string | Buffer): string[];
  /** The directory becomes root and working directory of the whole process (all threads). */
  changeRoot(fd: number): void;
  /** SIGKILL when the thread that started this process ends. Throws ESRCH when `parent` is not the parent (any more). */
  dieWithParent(parent: number): void;
  /** cgroup v1: an eventfd that counts OOM events of the memory cgroup directory. */
  oomEventfd(cgroupDirectory: string): number;
  /**
   * Replaces this process. Only the listed descriptors (and 0, 1, 2) stay open. Returns only by throwing; then all is as before.
   * SIGHUP, SIGINT, SIGTERM and SIGUSR2 are ignored in the new program until it listens for them (Node makes them fatal again early
   * in its start: listen soon), and no signal is blocked.
   */
  execve(file: string, argv: string[], env: string[], keepDescriptors: number[]): never;
  setProcessName(name: string): void;
  /** Lets the C library give unused memory back (malloc_trim). */
  trimMemory(): void;
}

export function loadNative(path: string): NativeAddon {
  return createRequire(import.meta.url)(path) as NativeAddon;
}
