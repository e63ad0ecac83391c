import { readFileSync, readdirSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError, type NativeAddon, unlinkQuietly } from '../../linux/index.ts';
import { Logger, type LoggerSetup } from './logger.ts';

const fifoMode = 0o600;
const recordEnding = '.json';
const noteEnding = '.logger';
const reopenMs = 5000;

export interface LogSetup extends LoggerSetup {
  readonly native: NativeAddon;
  /** The process that writes the log was lost, and none can be started in its place. */
  readonly failed: (error: unknown) => void;
}

interface LogRecord {
  logPath: string;
  terminal: boolean;
  stdin: boolean;
}

/**
 * The stdio of one container of a shim that knows FIFOs only: a process of its own reads them, and writes the log. A shim blocks the
 * container when nobody reads, so what this needs is in the folder, for the next manager to go on with.
 */
export class ContainerLog {
  readonly #paths: StdioPaths;
  readonly #record: LogRecord;
  readonly #setup: LogSetup;
  readonly #logger: Logger;
  /** One thing after the other is done to it. */
  #last: Promise<unknown> = Promise.resolve();
  #isLetGo = false;

  private constructor(paths: StdioPaths, record: LogRecord, setup: LogSetup) {
    this.#paths = paths;
    this.#record = record;
    this.#setup = setup;
    this.#logger = new Logger(paths.note, setup.native);
  }

  /** Makes the FIFOs of a new container, and its log. @throws SystemError, RpcError; then nothing of it is left */
  static async make(folder: string, id: string, record: LogRecord, setup: LogSetup): Promise<ContainerLog> {
    const paths = stdioPaths(folder, id);
    const log = new ContainerLog(paths, record, setup);
    await log.#logger.end();
    log.#removeFiles();
    writeFileSync(`${paths.record}.new`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${paths.record}.new`, paths.record);
    try {
      const { stdin, stdout, stderr } = log.stdio;
      for (const path of [stdin, stdout, stderr]) if (path !== '') setup.native.mkfifo(path, fifoMode);
      await log.#next(() => log.#start(true));
    } catch (error) {
      await log.remove();
      throw error;
    }
    return log;
  }

  /** That of a container which another manager has made. @throws SystemError, SyntaxError when what it left cannot be read */
  static resume(folder: string, id: string, setup: LogSetup): ContainerLog {
    const paths = stdioPaths(folder, id);
    return new ContainerLog(paths, JSON.parse(readFileSync(paths.record, 'utf8')) as LogRecord, setup);
  }

  /** The containers whose logs are in that folder, which need not be there. */
  static ids(folder: string): string[] {
    return namesIn(folder, recordEnding);
  }

  /** What to tell the shim: paths of FIFOs, '' for none. */
  get stdio(): { stdin: string; stdout: string; stderr: string } {
    const { stdin, terminal, logPath } = this.#record;
    // Of a terminal nobody drains, the container would fill it and stop.
    const isRead = logPath !== '' || terminal;
    return {
      stdin: stdin ? this.#paths.stdin : '',
      stdout: isRead ? this.#paths.stdout : '',
      stderr: isRead && !terminal ? this.#paths.stderr : '',
    };
  }

  /** If whoever writes it was killed, somebody else goes on: the shim holds what nobody has read. */
  async lookAfter(): Promise<void> {
    try {
      await this.#next(() => this.#replaceLost());
    } catch (error) {
      this.#setup.failed(error);
    }
  }

  /** The log goes on in a new file of its name. @throws RpcError, SystemError */
  async reopen(): Promise<void> {
    const { logPath } = this.#record;
    if (logPath === '') return;
    await this.#next(async () => {
      await this.#replaceLost();
      await this.#logger.reopen(logPath, reopenMs);
    });
  }

  /** Waits for the end of the output, no longer than that; what has come is in the log then. */
  async drained(timeoutMs: number): Promise<void> {
    await this.lookAfter();
    await this.#logger.ended(timeoutMs);
  }

  /** This manager looks after it no longer. What writes it stays. */
  async letGo(): Promise<void> {
    this.#isLetGo = true;
    await this.#last;
  }

  async remove(): Promise<void> {
    await this.letGo();
    await this.#logger.end();
    this.#removeFiles();
  }

  async #replaceLost(): Promise<void> {
    if (this.#isLetGo || this.#logger.isRunning || this.#logger.hasFinished) return;
    await this.#start(false);
  }

  async #start(isFirst: boolean): Promise<void> {
    const { stdout, stderr } = this.stdio;
    const all = [{ name: 'stdout', fifo: stdout } as const, { name: 'stderr', fifo: stderr } as const];
    const streams = all.filter(({ fifo }) => fifo !== '');
    const whenEnded = () => void this.lookAfter();
    const { logPath } = this.#record;
    if (streams.length > 0) await this.#logger.start(this.#setup, { logPath, streams, isFirst, whenEnded });
  }

  #next(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  #removeFiles(): void {
    const { stdin, stdout, stderr, note, record } = this.#paths;
    // The record goes last: as long as it is there, what is left is found.
    for (const path of [stdin, stdout, stderr, note, record]) unlinkQuietly(path);
  }
}

/** Ends all that writes logs for a pod whose shim has gone, or goes. */
export async function endLogs(folder: string, native: NativeAddon): Promise<void> {
  const loggers = namesIn(folder, noteEnding).map((id) => new Logger(stdioPaths(folder, id).note, native));
  await Promise.all(loggers.map((logger) => logger.end()));
}

function namesIn(folder: string, ending: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(ending))
      .map((name) => name.slice(0, -ending.length));
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return [];
    throw error;
  }
}

interface StdioPaths {
  stdin: string;
  stdout: string;
  stderr: string;
  note: string;
  record: string;
}

/** Without links, however the folder was named: a process is known by the path of its note. */
function stdioPaths(folder: string, id: string): StdioPaths {
  const path = join(realpathSync(folder), id);
  return {
    stdin: `${path}.in`,
    stdout: `${path}.out`,
    stderr: `${path}.err`,
    note: `${path}${noteEnding}`,
    record: `${path}${recordEnding}`,
  };
}
