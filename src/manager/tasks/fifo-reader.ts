import { constants, openSync } from 'node:fs';
import { Socket } from 'node:net';

const { O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

export interface FifoReaderOptions {
  /** Takes the next bytes; while it works no more are read, which holds the writer back. It must not fail. */
  readonly take: (bytes: Buffer) => void | Promise<void>;
  /** Called once, when the last writer has gone or the reader was closed, and all is taken. It must not fail. */
  readonly ended?: () => void | Promise<void>;
  /** Whether the last writer's going away is no end, as another will come. Default false. */
  readonly keepOpen?: boolean;
}

/** Reads a FIFO from now on, whether a writer is there yet or not. */
export class FifoReader {
  readonly #socket: Socket;
  /** Resolves when the last writer has gone or the reader was closed, and all is taken. */
  readonly ended: Promise<void>;

  /** @throws SystemError when the FIFO cannot be opened */
  constructor(path: string, { take, ended, keepOpen = false }: FifoReaderOptions) {
    const fd = openSync(path, (keepOpen ? O_RDWR : O_RDONLY) | O_NONBLOCK);
    const socket = new Socket({ fd, readable: true, writable: false });
    this.#socket = socket;
    let taking: Promise<void> = Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.ended = promise.then(() => taking).then(() => ended?.());
    socket.on('error', () => undefined);
    socket.once('end', () => resolve(undefined));
    socket.once('close', () => resolve(undefined));
    socket.on('data', (bytes: Buffer) => {
      const taken = take(bytes);
      if (taken === undefined) return;
      socket.pause();
      taking = taken.finally(() => socket.resume());
    });
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  /** Reads no more. What is being taken is taken. */
  close(): void {
    this.#socket.destroy();
  }
}
