import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, RpcError } from '../../grpc/index.ts';
import { isSystemError, type NativeAddon } from '../../linux/index.ts';
import { identityOf, killProcess } from './process-identity.ts';

/** By this name the static program reads FIFOs and writes a CRI log. */
const program = 'berth-logger';
const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const logMode = 0o640;
const ready = 'ready';
const readyMs = 5000;
const soonMs = 1000;
const lookAgainMs = 5;
/** From SIGTERM to the end: longer than it tries to write what is left. */
const endMs = 1500;
const [sighup, sigterm] = [1, 15];

export interface LoggerSetup {
  /** Absolute path of our static program. */
  readonly launcher: string;
  readonly environment: Readonly<Record<string, string>>;
  /** A FIFO that somebody reads: what goes wrong while it runs, in logfmt. */
  readonly complaints: string;
}

export interface LoggerTask {
  /** '' to drop what is read. */
  readonly logPath: string;
  /** The FIFOs. */
  readonly streams: readonly { name: 'stdout' | 'stderr'; fifo: string }[];
  /** Whether the container is new: then a log that cannot be written is refused. Else its output is dropped. */
  readonly isFirst: boolean;
  /** It has ended, by whatever. Not told of one that has just begun, or that an earlier manager has started. */
  readonly whenEnded: () => void;
}

/**
 * The process that writes a container's output into its log, for shims that know FIFOs only. It outlives the manager, as the log must;
 * it is found again by its note.
 */
export class Logger {
  readonly #note: string;
  readonly #native: NativeAddon;
  /** That which this manager has started: it is known before it has noted itself. */
  #started = 0;

  /** @param note path of the file in which it notes its pid, and then its end; without links */
  constructor(note: string, native: NativeAddon) {
    this.#note = note;
    this.#native = native;
  }

  /** @throws RpcError INTERNAL with its reason when it cannot do its work; then it has ended */
  async start(setup: LoggerSetup, task: LoggerTask): Promise<void> {
    const fds: number[] = [];
    try {
      writeFileSync(this.#note, '', { mode: 0o600 });
      fds.push(openSync(setup.complaints, O_WRONLY | O_NONBLOCK));
      for (const { fifo } of task.streams) fds.push(openSync(fifo, O_RDONLY | O_NONBLOCK));
      const said = await this.#run(setup, task, fds);
      if (said !== ready) throw new Error(said === '' ? 'it has ended at once' : said);
    } catch (cause) {
      await this.end();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new RpcError(Code.Internal, `the log of a container cannot be written: ${why}`, { cause });
    } finally {
      for (const fd of fds) closeSync(fd);
    }
  }

  /** Gives what it has said when it was ready, or could not be. */
  async #run({ launcher, environment }: LoggerSetup, task: LoggerTask, fds: readonly number[]): Promise<string> {
    const { logPath, streams, isFirst, whenEnded } = task;
    const args = [isFirst ? 'first' : 'again', this.#note, logPath, ...streams.map(({ name }) => name)];
    const options = { argv0: program, cwd: '/', env: { ...environment }, detached: true };
    const child = spawn(launcher, args, { ...options, stdio: ['ignore', 'pipe', ...fds] });
    const failed = once(child, 'error').then(([error]) => Promise.reject(error as Error));
    // It fails, if it does, where it is waited for.
    failed.catch(() => undefined);
    this.#started = child.pid ?? 0;
    const startedAt = performance.now();
    let isReady = false;
    // One that cannot live is not to be replaced at once, again and again.
    child.once('exit', () => isReady && performance.now() - startedAt > soonMs && whenEnded());
    child.unref();
    // Where there are no descriptors left it has no pipe either, whatever its type says.
    if (child.pid === undefined) return await failed;
    const { stdout } = child;
    if (stdout === null) throw new Error('it has no output');
    let said = '';
    stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
    const closed = once(stdout, 'close', { signal: AbortSignal.timeout(readyMs) });
    await Promise.race([failed, closed]);
    isReady = said === ready;
    return said;
  }

  /** Whether all output has come to its end and is in the log. */
  get hasFinished(): boolean {
    return this.#noted().endsWith('\nended\n');
  }

  get isRunning(): boolean {
    return this.#pid !== undefined;
  }

  /** Waits for its end. False when it still runs after that time: somebody holds the FIFOs open. */
  async ended(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (this.isRunning) {
      if (performance.now() > deadline) return false;
      await sleep(lookAgainMs);
    }
    return true;
  }

  /** The log goes on in a new file of that name, which is there also if there is no output any more. @throws RpcError, SystemError */
  async reopen(logPath: string, timeoutMs: number): Promise<void> {
    const pid = this.#pid;
    if (pid !== undefined && this.#signal(sighup)) {
      const deadline = performance.now() + timeoutMs;
      while (!writesOnlyTo(logPath, pid, this.#note) && this.#pid === pid) {
        if (performance.now() > deadline)
          throw new RpcError(Code.Internal, `the log ${logPath} cannot be opened anew: berthd's own log tells why`);
        await sleep(lookAgainMs);
      }
    }
    if (this.#pid === undefined)
      closeSync(openSync(logPath, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOFOLLOW, logMode));
  }

  /** What is there now is written, and it ends. Idempotent. */
  async end(): Promise<void> {
    const pid = this.#pid;
    if (pid === undefined) return;
    const identity = identityOf(pid);
    this.#signal(sigterm);
    if (!(await this.ended(endMs)) && identity !== undefined) await killProcess(identity, this.#native, endMs);
  }

  /** False when it has ended. */
  #signal(signal: number): boolean {
    const pid = this.#pid;
    if (pid === undefined) return false;
    let pidfd = -1;
    try {
      pidfd = this.#native.pidfdOpen(pid);
      // The descriptor is of one process: if that is ours now, it is the one that gets the signal.
      if (this.#pid !== pid) return false;
      this.#native.pidfdSendSignal(pidfd, signal);
      return true;
    } catch (error) {
      if (isSystemError(error, 'ESRCH', 'EINVAL')) return false;
      throw error;
    } finally {
      if (pidfd >= 0) closeSync(pidfd);
    }
  }

  get #pid(): number | undefined {
    return [Number.parseInt(this.#noted()), this.#started].find((pid) => this.#isOurs(pid));
  }

  /** A process that has the number now has not this command line. */
  #isOurs(pid: number): boolean {
    if (!(pid > 0)) return false;
    try {
      const [name, , note] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return name === program && note === this.#note;
    } catch {
      return false;
    }
  }

  #noted(): string {
    try {
      return readFileSync(this.#note, 'utf8');
    } catch {
      return '';
    }
  }
}

/** Whether the log is there, and no other file but its note is what that process writes to. */
function writesOnlyTo(logPath: string, pid: number, note: string): boolean {
  try {
    const log = lstatSync(logPath);
    if (!log.isFile()) return false;
    const { dev, ino } = log;
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).every((fd) => {
      const path = `${folder}/${fd}`;
      if (readlinkSync(path) === note) return true;
      const file = statSync(path);
      return !file.isFile() || (file.dev === dev && file.ino === ino);
    });
  } catch {
    // It is being opened, or closed, or the process has just ended.
    return false;
  }
}
