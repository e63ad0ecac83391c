import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** What is done to an answer on its way. */
export type Fault =
  /** After so many bytes nothing more comes, and nobody says why. */
  | { kind: 'hangs'; afterBytes: number }
  /** After so many bytes the connection is closed. */
  | { kind: 'breaks'; afterBytes: number }
  | { kind: 'slow'; bytesPerSecond: number }
  /** One byte is another. */
  | { kind: 'lies' };

/** A registry's front that sees each request, and can be made to misbehave. */
export class RegistryProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #behind: string;
  readonly #faults: [match: RegExp, fault: Fault][] = [];
  /** "GET /v2/busybox/manifests/latest", in order; those without an answer too. */
  readonly requests: string[] = [];

  private constructor(behind: string) {
    this.#behind = behind;
    this.#server = createServer((asked, answer) => this.#forward(asked, answer));
  }

  /** @param behind host and port of the registry */
  static async start(behind: string): Promise<RegistryProxy> {
    const proxy = new RegistryProxy(behind);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on, answers to such requests ("GET /v2/…") come like that. */
  fault(match: RegExp, fault: Fault): void {
    this.#faults.push([match, fault]);
  }

  mend(): void {
    this.#faults.length = 0;
  }

  /** How many requests there were of that kind. */
  count(match: RegExp): number {
    return this.requests.filter((line) => match.test(line)).length;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #forward(asked: IncomingMessage, answer: ServerResponse): void {
    const line = `${asked.method} ${asked.url}`;
    this.requests.push(line);
    const fault = this.#faults.find(([match]) => match.test(line))?.[1];
    const [host, port] = this.#behind.split(':');
    const options = { host, port, method: asked.method, path: asked.url, headers: asked.headers };
    const onward = request(options, (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      deliver(response, answer, fault).catch(() => answer.destroy());
    });
    onward.on('error', () => answer.destroy());
    asked.pipe(onward);
  }
}

async function deliver(from: IncomingMessage, to: ServerResponse, fault: Fault | undefined): Promise<void> {
  if (fault === undefined) await pipeline(from, to);
  else await pipeline(from, (pieces: AsyncIterable<Buffer>) => spoilt(pieces, fault, to), to);
}

async function* spoilt(pieces: AsyncIterable<Buffer>, fault: Fault, to: ServerResponse): AsyncGenerator<Buffer> {
  const limit = fault.kind === 'hangs' || fault.kind === 'breaks' ? fault.afterBytes : Infinity;
  let bytes = 0;
  for await (const piece of pieces) {
    const chunk = Buffer.from(piece);
    if (fault.kind === 'slow') await sleep((chunk.length / fault.bytesPerSecond) * 1000);
    if (fault.kind === 'lies' && bytes === 0) chunk.writeUInt8((chunk.at(-1) ?? 0) ^ 0xff, chunk.length - 1);
    const part = chunk.subarray(0, Math.max(0, limit - bytes));
    bytes += chunk.length;
    if (part.length > 0) yield part;
    if (bytes < limit) continue;
    if (fault.kind === 'hangs') await once(to, 'close');
    to.destroy();
    return;
  }
}
