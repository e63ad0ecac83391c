import { closeSync, openSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { ShimContext } from './context.ts';
import { pollIn } from './reactor.ts';
import type { Process } from './process.ts';
import type { AttachRecord, AttachToken } from './record.ts';

const tokenBytes = 32;
const tokenCharacters = tokenBytes * 2;
/** How long a token can be used. */
const tokenSeconds = 30;
/** How long a client that has connected may take to send its token. */
const greetingMs = 5000;
const backlog = 16;

interface AttachedStreams {
  containerId: string;
  stdin: number;
  stdout: number;
  stderr: number;
}

export interface AttachStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}

/**
 * Lets clients attach to processes. A call gives out a token; the client connects to the attach socket, sends the token (64
 * characters), and from then on the connection is the pump's, with the frames that pump.h describes.
 */
export class AttachService {
  readonly #context: ShimContext;
  readonly #find: (containerId: string, execId: string) => Process | undefined;
  #acceptWatch = 0;

  constructor(context: ShimContext, find: (containerId: string, execId: string) => Process | undefined) {
    this.#context = context;
    this.#find = find;
  }

  /** After the program image was replaced: listens on. */
  resume(): void {
    const { attach } = this.#context.record;
    if (attach !== null) this.#accept(attach);
  }

  /** @throws TtrpcError FAILED_PRECONDITION when the process does not run */
  offer(containerId: string, process: Process, streams: AttachStreams): { address: string; token: string } {
    if (process.state === 'stopped' || process.record.exit !== null) {
      throw new TtrpcError(Code.FailedPrecondition, `cannot attach to ${process.name}: it is stopped`);
    }
    const attach = this.#listen();
    const token = randomToken();
    const now = Date.now();
    attach.tokens = attach.tokens.filter(({ expiresAtMs }) => expiresAtMs > now);
    attach.tokens.push({
      token,
      expiresAtMs: now + tokenSeconds * 1000,
      containerId,
      execId: process.record.execId,
      ...streams,
    });
    return { address: attach.path, token };
  }

  /** What a sleeping shim must be woken by. */
  wakers(): { fd: number; bits: number }[] {
    const { attach } = this.#context.record;
    return attach === null ? [] : [{ fd: attach.listener, bits: pollIn }];
  }

  close(): void {
    const { attach } = this.#context.record;
    if (attach === null) return;
    this.#context.record.attach = null;
    this.#context.reactor.unwatch(this.#acceptWatch);
    closeSync(attach.listener);
    unlinkSync(attach.path);
  }

  #listen(): AttachRecord {
    const { record, native } = this.#context;
    if (record.attach !== null) return record.attach;
    const name = record.socketPath.split('/').pop() ?? 'shim';
    const path = join(record.socketFolder, `${name.slice(0, 24)}.attach`);
    try {
      unlinkSync(path);
    } catch {
      // none was left behind
    }
    record.attach = { path, listener: native.listenUnix(path, backlog, 0o600), tokens: [], clients: [] };
    this.#context.saveNow();
    this.#accept(record.attach);
    return record.attach;
  }

  #accept(attach: AttachRecord): void {
    const { reactor, native } = this.#context;
    if (this.#acceptWatch === 0) this.#acceptWatch = reactor.nextId();
    reactor.watch(this.#acceptWatch, attach.listener, pollIn, () => {
      try {
        for (let fd = native.accept(attach.listener); fd >= 0; fd = native.accept(attach.listener)) this.#greet(fd);
      } finally {
        if (this.#context.record.attach !== null) this.#accept(attach);
      }
    });
  }

  /** Reads the token and hands the connection over; one that says nothing or something wrong is closed. */
  #greet(fd: number): void {
    const { activity, log } = this.#context;
    activity
      .track(this.#readToken(fd).then((token) => this.#redeem(token)))
      .then(
        (streams) => {
          this.#connect(fd, streams);
        },
        (error: unknown) => {
          closeSync(fd);
          log.warn('an attach client was turned away', {
            reason: error instanceof Error ? error.message : String(error),
          });
        },
      )
      .catch((error: unknown) => {
        log.warn('an attach client could not be connected', {
          reason: error instanceof Error ? error.message : String(error),
        });
      });
  }

  async #readToken(fd: number): Promise<string> {
    const { native, reactor } = this.#context;
    if (native.peerCredentials(fd).uid !== 0 && native.peerCredentials(fd).uid !== process.getuid?.())
      throw new Error('another user');
    const signal = AbortSignal.timeout(greetingMs);
    let token = '';
    while (token.length < tokenCharacters) {
      await reactor.readable(fd, signal);
      // No byte more than the token: what follows is the pump's.
      const part = Buffer.alloc(tokenCharacters - token.length);
      const count = native.read(fd, part);
      if (count === 0) throw new Error('it left before it sent its token');
      if (count > 0) token += part.toString('latin1', 0, count);
    }
    return token;
  }

  /** What the token stands for, in the pump's terms. */
  #redeem(token: string): AttachedStreams {
    const grant = this.#take(token);
    const process = this.#find(grant.containerId, grant.execId);
    if (process === undefined || process.state === 'stopped') throw new Error('its process has ended');
    const output = (stream: 'stdout' | 'stderr'): number =>
      process.record.outputs.find((one) => one.stream === stream)?.id ?? 0;
    return {
      containerId: grant.containerId,
      stdin: grant.stdin ? process.record.input : 0,
      stdout: grant.stdout ? output('stdout') : 0,
      stderr: grant.stderr ? output('stderr') : 0,
    };
  }

  #connect(fd: number, { containerId, stdin, stdout, stderr }: AttachedStreams): void {
    const { reactor, record } = this.#context;
    const id = reactor.nextId();
    reactor.loop.addClient(id, fd, stdin, stdout, stderr);
    record.attach?.clients.push({ id, containerId });
  }

  /** A client is gone. */
  left(id: number): void {
    const { attach } = this.#context.record;
    if (attach !== null) attach.clients = attach.clients.filter((client) => client.id !== id);
  }

  /** How many clients are attached to processes of the container. */
  count(containerId: string): number {
    return this.#context.record.attach?.clients.filter((client) => client.containerId === containerId).length ?? 0;
  }

  #take(token: string): AttachToken {
    const tokens = this.#context.record.attach?.tokens ?? [];
    const at = tokens.findIndex((grant) => grant.token === token && grant.expiresAtMs > Date.now());
    const [grant] = at < 0 ? [] : tokens.splice(at, 1);
    if (grant === undefined) throw new Error('its token is unknown, used, or too old');
    return grant;
  }
}

/** From the kernel's generator; `node:crypto` takes longer to load than a shim takes to start. */
function randomToken(): string {
  const source = openSync('/dev/urandom', 'r');
  try {
    const bytes = Buffer.alloc(tokenBytes);
    if (readSync(source, bytes) !== tokenBytes) throw new Error('/dev/urandom gave too little');
    return bytes.toString('hex');
  } finally {
    closeSync(source);
  }
}
