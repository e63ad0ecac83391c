import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection, type Server as SocketServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { type Frame, FrameParser, headerBytes, writeHeader } from '../../../src/ttrpc/frame.ts';
import { Client, connect, listen, Server, type ServerOptions, type ServiceHandlers } from '../../../src/ttrpc/index.ts';
import { message, single } from '../../../src/wire/codec.ts';
import { envelopes, type Init, method, service } from '../../../src/wire/index.ts';

export interface Echo {
  sequence: bigint;
  text: string;
}
export const Echo = message<Echo>('test.Echo', () => ({ sequence: single(1, 'int64'), text: single(2, 'string') }));

/** One method of each kind, and one that only waits. */
export const echoService = service('test.EchoService', {
  Echo: method('unary', Echo, Echo),
  Wait: method('unary', Echo, Echo),
  Collect: method('clientStream', Echo, Echo),
  Count: method('serverStream', Echo, Echo),
  Converse: method('bidirectional', Echo, Echo),
});
export type EchoHandlers = ServiceHandlers<typeof echoService>;

export const isWait = (_service: string, name: string): boolean => name === 'Wait';

export interface LogLine {
  readonly level: 'debug' | 'warn';
  readonly text: string;
}

/** A logger that keeps what it is told. */
export class LogRecord {
  readonly lines: LogLine[] = [];
  debug(text: string, fields?: object): void {
    this.lines.push({ level: 'debug', text: `${text} ${JSON.stringify(fields)}` });
  }
  warn(text: string, fields?: object): void {
    this.lines.push({ level: 'warn', text: `${text} ${JSON.stringify(fields)}` });
  }
  get warnings(): string[] {
    return this.lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
  }
}

/** A server on a real unix socket, with what a test needs around it. */
export interface Setting {
  readonly server: Server;
  readonly path: string;
  readonly log: LogRecord;
  client(): Promise<Client>;
  raw(): Promise<RawClient>;
}

export async function serve(
  t: TestContext,
  handlers: EchoHandlers,
  options: Omit<ServerOptions, 'logger'> = {},
): Promise<Setting> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-ttrpc-'));
  const path = join(folder, 's');
  const log = new LogRecord();
  const server = new Server({ logger: log, ...options });
  server.register(echoService, handlers);
  const listener: SocketServer = await listen(path, (transport) => server.accept(transport));
  t.after(() => {
    listener.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return {
    server,
    path,
    log,
    client: async () => {
      const client = new Client(await connect(path, { timeoutMs: 1000 }));
      t.after(() => client.close());
      return client;
    },
    raw: async () => {
      const socket = createConnection({ path, allowHalfOpen: true });
      t.after(() => socket.destroy());
      await once(socket, 'connect');
      return new RawClient(socket);
    },
  };
}

/** A client that may break every rule: it sends what it is told to and shows what comes. */
export class RawClient {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  readonly #parser = new FrameParser();
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#parser.push(bytes);
      for (let frame = this.#parser.next(); frame; frame = this.#parser.next()) this.frames.push(frame as Frame);
      this.#wake?.();
    });
    const close = () => {
      this.#closed = true;
      this.#wake?.();
    };
    socket.on('error', close).on('end', close).on('close', close);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  send(...frames: Buffer[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** Waits until so many frames have come in all, or the server has closed. */
  async received(count: number): Promise<Frame[]> {
    while (this.frames.length < count && !this.#closed) await this.#event();
    return this.frames;
  }

  async closed(): Promise<void> {
    while (!this.#closed) await this.#event();
  }

  async #event(): Promise<void> {
    await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

export function frame(streamId: number, type: number, flags: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  return writeHeader(Buffer.concat([Buffer.alloc(headerBytes), data]), streamId, type, flags);
}

export function request(
  streamId: number,
  name: string,
  payload: Init<Echo> = {},
  fields: Init<envelopes.Request> = {},
): Buffer {
  return frame(
    streamId,
    1,
    0,
    envelopes.Request.encode({ service: 'test.EchoService', method: name, payload: Echo.encode(payload), ...fields }),
  );
}

export function response({ data }: Frame): { code: number; message: string; echo: Echo } {
  const { status, payload } = envelopes.Response.decode(data);
  return { code: status?.code ?? 0, message: status?.message ?? '', echo: Echo.decode(payload) };
}
