import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, RpcError } from '../../grpc/index.ts';
import type { NativeAddon } from '../../linux/index.ts';
import { identityOf, killProcess } from './process-identity.ts';

/** By this name the static program reads FIFOs and writes a CRI log. */
const program = 'berth-logger';
const { O_NONBLOCK, O_RDONLY, O_RDWR } = constants;
const readyMs = 5000;
const lookAgainMs = 5;
/** From SIGTERM to the end: longer than it tries to write what is left. */
const endMs = 1500;

export interface LoggerSetup {
  /** Absolute path of our static program. */
  readonly launcher: string;
  readonly environment: Readonly<Record<string, string>>;
  /** A FIFO that somebody reads: what goes wrong while it runs, in logfmt. */
  readonly complaints: string;
}

/**
 * The process that writes a container's output into its log, for shims that know FIFOs only. It outlives the manager, as the log must;
 * it is found again by its note.
 */
export class Logger {
  readonly #note: string;
  readonly #native: NativeAddon;

  /** @param note path of the file in which it notes its pid, and then its end */
  constructor(note: string, native: NativeAddon) {
    this.#note = note;
    this.#native = native;
  }

  /**
   * @param logPath '' to drop what is read
   * @param streams the FIFOs
   * @throws RpcError INTERNAL with its reason when it cannot do its work; then it has ended
   */
  async start(
    { launcher, environment, complaints }: LoggerSetup,
    logPath: string,
    streams: readonly { name: 'stdout' | 'stderr'; fifo: string }[],
  ): Promise<void> {
    const fds: number[] = [];
    try {
      fds.push(openSync(complaints, O_RDWR | O_NONBLOCK));
      for (const { fifo } of streams) fds.push(openSync(fifo, O_RDONLY | O_NONBLOCK));
      const args = [this.#note, logPath, ...streams.map(({ name }) => name)];
      const child = spawn(launcher, args, {
        argv0: program,
        cwd: '/',
        env: { ...environment },
        detached: true,
        stdio: ['ignore', 'pipe', ...fds],
      });
      child.unref();
      let said = '';
      child.stdout?.on('data', (bytes: Buffer) => (said += bytes.toString()));
      if (child.stdout !== null) await once(child.stdout, 'close', { signal: AbortSignal.timeout(readyMs) });
      if (said === 'ready') return;
      throw new Error(said === '' ? 'it has ended at once' : said);
    } catch (cause) {
      await this.end();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new RpcError(Code.Internal, `the log of a container cannot be written: ${why}`, { cause });
    } finally {
      for (const fd of fds) closeSync(fd);
    }
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

  /** It goes on in a new file of that name. @throws RpcError INTERNAL when it does not within that time */
  async reopen(logPath: string, timeoutMs: number): Promise<void> {
    const pid = this.#pid;
    if (pid === undefined) return;
    process.kill(pid, 'SIGHUP');
    const deadline = performance.now() + timeoutMs;
    while (!writesOnlyTo(logPath, pid, this.#note)) {
      if (performance.now() > deadline)
        throw new RpcError(Code.Internal, `the log ${logPath} cannot be opened anew: berthd's own log tells why`);
      await sleep(lookAgainMs);
    }
  }

  /** What is there now is written, and it ends. Idempotent. */
  async end(): Promise<void> {
    const pid = this.#pid;
    if (pid === undefined) return;
    const identity = identityOf(pid);
    process.kill(pid, 'SIGTERM');
    if (!(await this.ended(endMs)) && identity !== undefined) await killProcess(identity, this.#native, endMs);
  }

  get #pid(): number | undefined {
    const pid = Number.parseInt(this.#noted());
    if (!(pid > 0)) return undefined;
    try {
      // A process that has the number now has not this command line.
      const [name, note] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      return name === program && note === this.#note ? pid : undefined;
    } catch {
      return undefined;
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

/** Whether the log is there, and no other file is what that process writes to. */
function writesOnlyTo(logPath: string, pid: number, note: string): boolean {
  try {
    const { dev, ino } = statSync(logPath);
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
