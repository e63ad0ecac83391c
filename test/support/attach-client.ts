import { createConnection, type Socket } from 'node:net';
import type { ShimClient } from './shim-client.ts';
import { until } from './until.ts';

/** Kinds of frames, as src/native/pump.h has them. */
const frameKind = { stdin: 0, stdout: 1, stderr: 2, endOfStdin: 3 } as const;
const headerBytes = 5;

export interface AttachOptions {
  execId?: string;
  stdin?: boolean;
  stdout?: boolean;
  stderr?: boolean;
}

/**
 * One client that is attached to a process through our shim: its output from now on, and its stdin.
 *
 * @example
 * using attached = await AttachClient.attach(container, { stdin: true, stdout: true });
 * attached.write('date\n');
 * await attached.waitFor('UTC');
 */
export class AttachClient implements Disposable {
  readonly #socket: Socket;
  #unparsed = Buffer.alloc(0);
  readonly #output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  /** Resolves when the shim has ended the connection. */
  readonly ended: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.ended = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => this.#parse(bytes));
  }

  static async attach(client: ShimClient, options: AttachOptions): Promise<AttachClient> {
    const { address, token } = await client.berth('Attach', { id: client.id, ...options });
    const before = await attachedTo(client);
    const attached = await AttachClient.connect(client.pathOf(address), token);
    // From then on no output is missed.
    await until('the client to be attached', async () => (await attachedTo(client)) > before);
    return attached;
  }

  /** The bare connection: with a token that may be wrong. */
  static async connect(path: string, token: string): Promise<AttachClient> {
    const socket = createConnection(path);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const attached = new AttachClient(socket);
    socket.write(token);
    return attached;
  }

  get stdout(): string {
    return Buffer.concat(this.#output.stdout).toString();
  }

  get stderr(): string {
    return Buffer.concat(this.#output.stderr).toString();
  }

  write(text: string): void {
    this.#send(frameKind.stdin, Buffer.from(text));
  }

  endStdin(): void {
    this.#send(frameKind.endOfStdin, Buffer.alloc(0));
  }

  async waitFor(part: string, withinMilliseconds?: number): Promise<string> {
    return until(`"${part}" from the shim`, () => this.stdout.includes(part) && this.stdout, withinMilliseconds);
  }

  close(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #send(kind: number, payload: Buffer): void {
    const header = Buffer.alloc(headerBytes);
    header.writeUInt8(kind, 0);
    header.writeUInt32BE(payload.length, 1);
    this.#socket.write(Buffer.concat([header, payload]));
  }

  #parse(bytes: Buffer): void {
    this.#unparsed = Buffer.concat([this.#unparsed, bytes]);
    for (;;) {
      if (this.#unparsed.length < headerBytes) return;
      const end = headerBytes + this.#unparsed.readUInt32BE(1);
      if (this.#unparsed.length < end) return;
      const payload = this.#unparsed.subarray(headerBytes, end);
      if (this.#unparsed[0] === frameKind.stdout) this.#output.stdout.push(payload);
      if (this.#unparsed[0] === frameKind.stderr) this.#output.stderr.push(payload);
      this.#unparsed = this.#unparsed.subarray(end);
    }
  }
}

/** How many clients are attached to the container. */
async function attachedTo(client: ShimClient): Promise<number> {
  const { containers } = await client.berth('Info', {});
  return containers.find(({ id }) => id === client.id)?.attached ?? 0;
}
