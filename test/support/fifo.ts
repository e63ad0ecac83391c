import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { until } from './until.ts';

const { O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } = constants;

export function makeFifos(...paths: string[]): void {
  const { status, stderr } = spawnSync('mkfifo', ['-m', '0600', ...paths], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`mkfifo ${paths.join(' ')}: ${stderr}`);
}

export interface FifoReaderOptions {
  /** Gets each piece; then nothing is kept. Default: all is kept for `text`. */
  onData?: (bytes: Buffer) => void;
  /** Whether the last writer's going away is no end, since another may come. Default false. */
  keepOpen?: boolean;
}

/** Reads a FIFO from the moment that it is made, whether a writer is there yet or not. */
export class FifoReader implements Disposable {
  readonly #socket: Socket;
  readonly #pieces: Buffer[] = [];
  /** When the first byte came, in milliseconds of `performance.now()`. */
  firstByteAt: number | undefined;
  bytesRead = 0;
  /** Resolves when the last writer has gone and all is read, or the reader is closed. */
  readonly ended: Promise<void>;

  constructor(path: string, { onData, keepOpen = false }: FifoReaderOptions = {}) {
    const fd = openSync(path, (keepOpen ? O_RDWR : O_RDONLY) | O_NONBLOCK);
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.ended = new Promise((resolve) => this.#socket.once('close', () => resolve()));
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (bytes: Buffer) => {
      this.firstByteAt ??= performance.now();
      this.bytesRead += bytes.length;
      if (onData) onData(bytes);
      else this.#pieces.push(bytes);
    });
  }

  get text(): string {
    return Buffer.concat(this.#pieces).toString();
  }

  /** Waits until the text so far contains `part`; gives the text. */
  async waitFor(part: string, withinMilliseconds?: number): Promise<string> {
    return until(`"${part}" from the FIFO`, () => this.text.includes(part) && this.text, withinMilliseconds);
  }

  /** Stops to read, as a client does that takes nothing more but stays. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Writes to a FIFO as a client's stdin does. */
export class FifoWriter implements Disposable {
  readonly #fd: number;
  #open = true;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Opens it once somebody reads it. */
  static async open(path: string, withinMilliseconds?: number): Promise<FifoWriter> {
    const fd = await until(`a reader of ${path}`, () => openSync(path, O_WRONLY | O_NONBLOCK), withinMilliseconds);
    return new FifoWriter(fd);
  }

  /** Less than a pipe's buffer, so that it is written whole. */
  write(text: string): void {
    writeSync(this.#fd, text);
  }

  close(): void {
    if (this.#open) closeSync(this.#fd);
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
