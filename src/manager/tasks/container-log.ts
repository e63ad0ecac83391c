import { readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unlinkQuietly, type NativeAddon } from '../../linux/index.ts';
import { CriLogLines } from './cri-log-lines.ts';
import { within } from './deadlines.ts';
import { FifoReader } from './fifo-reader.ts';
import { LogFile } from './log-file.ts';

const fifoMode = 0o600;
const recordEnding = '.json';

interface LogRecord {
  logPath: string;
  terminal: boolean;
  stdin: boolean;
}

/**
 * The stdio of one container of a shim that knows FIFOs only: here they are read, and its log is written. A shim blocks the container
 * when nobody reads, so what this needs is in the folder, for the next manager to go on with.
 */
export class ContainerLog {
  readonly #paths: StdioPaths;
  readonly #record: LogRecord;
  readonly #file: LogFile;
  readonly #readers: FifoReader[] = [];

  private constructor(paths: StdioPaths, record: LogRecord, failed: (error: unknown) => void) {
    this.#paths = paths;
    this.#record = record;
    this.#file = new LogFile(record.logPath, failed);
  }

  /** Makes the FIFOs of a new container, and its log. @throws SystemError; then nothing of it is left */
  static async make(
    folder: string,
    id: string,
    record: LogRecord,
    native: NativeAddon,
    failed: (error: unknown) => void,
  ): Promise<ContainerLog> {
    const paths = stdioPaths(folder, id);
    const log = new ContainerLog(paths, record, failed);
    log.#removeFiles();
    writeFileSync(`${paths.record}.new`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${paths.record}.new`, paths.record);
    try {
      const { stdin, stdout, stderr } = log.stdio;
      for (const path of [stdin, stdout, stderr]) if (path !== '') native.mkfifo(path, fifoMode);
      if (record.logPath !== '') await log.#file.make();
      log.#read();
    } catch (error) {
      await log.remove();
      throw error;
    }
    return log;
  }

  /** Goes on with that of a container which another manager has made. */
  static resume(folder: string, id: string, failed: (error: unknown) => void): ContainerLog | undefined {
    const paths = stdioPaths(folder, id);
    try {
      const record = JSON.parse(readFileSync(paths.record, 'utf8')) as LogRecord;
      const log = new ContainerLog(paths, record, failed);
      log.#read();
      return log;
    } catch (error) {
      failed(error);
      return undefined;
    }
  }

  /** The containers whose logs are in that folder. */
  static ids(folder: string): string[] {
    return readdirSync(folder)
      .filter((name) => name.endsWith(recordEnding))
      .map((name) => name.slice(0, -recordEnding.length));
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

  /** The log goes on in a new file of its name. */
  async reopen(): Promise<void> {
    if (this.#record.logPath !== '') await this.#file.reopen();
  }

  /** Waits for the end of the output, no longer than that; what has come is in the log then. */
  async drained(timeoutMs: number): Promise<void> {
    await within(Promise.all(this.#readers.map((reader) => reader.ended)), timeoutMs);
  }

  /** Reads no more; the FIFOs stay. */
  async close(): Promise<void> {
    const readers = this.#readers.splice(0);
    for (const reader of readers) reader.close();
    await Promise.all(readers.map((reader) => reader.ended));
    await this.#file.close();
  }

  async remove(): Promise<void> {
    await this.close();
    this.#removeFiles();
  }

  #read(): void {
    const { stdout, stderr } = this.stdio;
    if (stdout !== '') this.#readers.push(this.#readStream('stdout', stdout));
    if (stderr !== '') this.#readers.push(this.#readStream('stderr', stderr));
  }

  #readStream(stream: 'stdout' | 'stderr', path: string): FifoReader {
    if (this.#record.logPath === '') return new FifoReader(path, { take: () => undefined });
    const lines = new CriLogLines(stream);
    return new FifoReader(path, {
      take: (bytes) => this.#file.append(lines.add(bytes, nowNanos())),
      ended: () => this.#file.append(lines.end(nowNanos())),
    });
  }

  #removeFiles(): void {
    // The record goes last: as long as it is there, what is left is found.
    for (const path of [this.#paths.stdin, this.#paths.stdout, this.#paths.stderr, this.#paths.record])
      unlinkQuietly(path);
  }
}

interface StdioPaths {
  stdin: string;
  stdout: string;
  stderr: string;
  record: string;
}

function stdioPaths(folder: string, id: string): StdioPaths {
  const path = join(folder, id);
  return { stdin: `${path}.in`, stdout: `${path}.out`, stderr: `${path}.err`, record: `${path}${recordEnding}` };
}

function nowNanos(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}
