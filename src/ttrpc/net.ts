import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { Code, TtrpcError } from './status.ts';
import type { Peer, Receiver, Transport } from './transport.ts';

/** How long a connection that was closed may take to deliver what was sent before, in milliseconds. */
const lingerMs = 5000;

/** How often a peer that has shut its sending side is asked whether it still exists, in milliseconds. */
const probeMs = 1000;

const nothing = Buffer.alloc(0);

/** A node:net socket as a transport. The socket must be made with `allowHalfOpen`. */
export class SocketTransport implements Transport {
  readonly peer: Peer | undefined;
  readonly #socket: Socket;
  #receiver: Receiver | undefined;
  #reading = false;
  #ended = false;
  #closed = false;
  #error: Error | undefined;
  #probe: NodeJS.Timeout | undefined;

  /** @param peer who is at the other end; Node does not tell by itself */
  constructor(socket: Socket, peer?: Peer) {
    this.peer = peer;
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#data(bytes));
    socket.on('end', () => {
      this.#ended = true;
      this.#probePeer();
      if (!this.#closed) this.#receiver?.ended();
    });
    socket.on('drain', () => this.#receiver?.writable());
    socket.on('error', (error: Error) => (this.#error = error));
    socket.on('close', () => {
      clearInterval(this.#probe);
      if (this.#closed) return;
      this.#closed = true;
      this.#receiver?.closed(this.#error);
    });
    socket.pause();
  }

  attach(receiver: Receiver): void {
    this.#receiver = receiver;
    this.#reading = false;
    this.#socket.pause();
    setImmediate(() => {
      if (this.#receiver !== receiver) return;
      if (this.#closed) receiver.closed(this.#error);
      else if (this.#ended) receiver.ended();
    });
  }

  read(wanted: boolean): void {
    if (wanted === this.#reading) return;
    this.#reading = wanted;
    if (wanted) this.#socket.resume();
    else this.#socket.pause();
  }

  send(bytes: Buffer): number {
    if (this.#closed || this.#socket.writableNeedDrain) return 0;
    this.#socket.write(bytes);
    return bytes.length;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#probe);
    this.#socket.resume();
    this.#socket.destroySoon();
    if (!this.#socket.destroyed) setTimeout(() => this.#socket.destroy(), lingerMs).unref();
  }

  #data(bytes: Buffer): void {
    if (!this.#closed) this.#receiver?.data(bytes);
  }

  /**
   * Reading tells no difference between a peer that only sends no more and one that is gone, and who waits for an answer
   * may wait for days. An empty write fails if the peer is gone, and is nothing otherwise.
   */
  #probePeer(): void {
    const probe = () => {
      if (!this.#closed && this.#socket.writableLength === 0) this.#socket.write(nothing);
    };
    probe();
    this.#probe = setInterval(probe, probeMs).unref();
  }
}

/**
 * Connects to a unix socket.
 * @param path a path, or a zero byte and a name for an abstract socket
 * @param options.timeoutMs how long it may take, in milliseconds
 * @throws {TtrpcError} UNAVAILABLE, with the system's error as its cause; DEADLINE_EXCEEDED; CANCELLED
 */
export function connect(
  path: string,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal },
): Promise<Transport> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path, allowHalfOpen: true });
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      socket.removeListener('error', refused);
    };
    const fail = (code: Code, message: string, cause?: unknown) => {
      settle();
      socket.on('error', () => undefined).destroy();
      reject(new TtrpcError(code, `cannot connect to ${path.replace('\0', '@')}: ${message}`, { cause }));
    };
    const abort = () => fail(Code.Cancelled, 'the attempt was given up', signal?.reason);
    const refused = (error: Error) => fail(Code.Unavailable, error.message, error);
    const timer = setTimeout(() => fail(Code.DeadlineExceeded, `no answer within ${timeoutMs} ms`), timeoutMs);
    socket.once('error', refused);
    socket.once('connect', () => {
      settle();
      resolve(new SocketTransport(socket));
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort);
  });
}

/**
 * Listens on a unix socket and hands over each connection. The caller closes the server; connections live on.
 * @param options.peerOf who is at the other end of a descriptor. Default: nobody knows
 */
export function listen(
  path: string,
  accept: (transport: Transport) => void,
  { peerOf }: { readonly peerOf?: (fd: number) => Peer } = {},
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    accept(new SocketTransport(socket, peerOf && peerBy(peerOf, socket))),
  );
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.removeListener('error', reject);
      resolve(server);
    });
  });
}

/** Undefined for a peer that has gone already. */
function peerBy(peerOf: (fd: number) => Peer, socket: Socket): Peer | undefined {
  // Node has no public way to a socket's descriptor.
  const { _handle: handle } = socket as Socket & { _handle?: { readonly fd?: number } | null };
  return handle?.fd === undefined || handle.fd < 0 ? undefined : peerOf(handle.fd);
}
