import { closeSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { NativeAddon } from '../../linux/index.ts';
import { ChildEnds } from './child-ends.ts';

export type ProgramNative = Pick<NativeAddon, 'spawn' | 'pipe' | 'memfd' | 'createLoop'>;

export interface ProgramRequest {
  /** Absolute path. */
  readonly file: string;
  /** `NAME=value`; nothing is inherited. */
  readonly environment: string[];
  /** What it reads. */
  readonly input: string;
  /** After it the program and all of its process group get SIGKILL. */
  readonly deadlineMilliseconds: number;
  /** The same happens when it prints more than this. */
  readonly maxOutputBytes: number;
  /** And when this aborts. */
  readonly signal?: AbortSignal | undefined;
}

export interface ProgramOutcome {
  readonly stdout: string;
  /** Its beginning, when there is a lot. */
  readonly stderr: string;
  /** 128 + signal where a signal ended it. */
  readonly exitCode: number;
  /** Why it was killed, if it was. */
  readonly killedFor: 'deadline' | 'output' | 'abort' | undefined;
}

const maxErrorBytes = 16 * 1024;
/** How long output may take that a background process of the program holds open. */
const lingerMilliseconds = 100;
/** How long what was killed may take to end: one that waits for a device or a file server does not, and is collected later. */
const giveUpMilliseconds = 5000;
const sigkill = 9;

/** What comes out of a pipe, up to a bound; what follows is read and dropped. */
class Drain {
  readonly #socket: Socket;
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  readonly ended: Promise<void>;

  constructor(fd: number, limit: number, onOverflow: () => void) {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.ended = promise;
    this.#socket = new Socket({ fd, readable: true, writable: false });
    this.#socket.on('data', (part: Buffer) => {
      const room = limit - this.#bytes;
      if (room > 0) this.#parts.push(part.subarray(0, room));
      this.#bytes += part.length;
      if (part.length > room) onOverflow();
    });
    this.#socket.on('error', () => resolve(undefined));
    this.#socket.on('close', () => resolve(undefined));
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }

  close(): void {
    this.#socket.destroy();
  }
}

/** Kills a program with all that it has started and that has not left its group. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}

/**
 * Runs programs to their end. They read a file and write to pipes, as shell scripts expect that open /dev/stdin or /dev/stderr
 * (Node's own "pipes" are sockets, which cannot be opened). If this process dies, so does the program.
 */
export class Programs {
  readonly #native: ProgramNative;
  readonly #ends: ChildEnds;

  constructor(native: ProgramNative) {
    this.#native = native;
    this.#ends = new ChildEnds(native);
  }

  /** @throws {SystemError} when it cannot be started: ENOENT, EACCES, ENOEXEC, ETXTBSY */
  async run(request: ProgramRequest): Promise<ProgramOutcome> {
    const { pid, stdout: outFd, stderr: errFd } = this.#start(request);
    let killedFor: ProgramOutcome['killedFor'];
    let running = true;
    const givenUp = Promise.withResolvers<undefined>();
    let giveUp: NodeJS.Timeout | undefined;
    const kill = (why: NonNullable<ProgramOutcome['killedFor']>) => {
      if (!running) return;
      killedFor ??= why;
      killGroup(pid);
      giveUp ??= setTimeout(() => givenUp.resolve(undefined), giveUpMilliseconds);
    };
    const abort = () => kill('abort');
    const stdout = new Drain(outFd, request.maxOutputBytes, () => kill('output'));
    const stderr = new Drain(errFd, maxErrorBytes, () => undefined);
    const deadline = setTimeout(() => kill('deadline'), request.deadlineMilliseconds);
    request.signal?.addEventListener('abort', abort);
    if (request.signal?.aborted === true) abort();
    const end = await Promise.race([this.#ends.wait(pid), givenUp.promise]);
    running = false;
    clearTimeout(deadline);
    clearTimeout(giveUp);
    request.signal?.removeEventListener('abort', abort);
    await Promise.race([Promise.all([stdout.ended, stderr.ended]), lingered()]);
    stdout.close();
    stderr.close();
    return { stdout: stdout.text, stderr: stderr.text, exitCode: end?.exitCode ?? 128 + sigkill, killedFor };
  }

  #start({ file, environment, input }: ProgramRequest): { pid: number; stdout: number; stderr: number } {
    const mine: number[] = [];
    const theirs: number[] = [];
    try {
      const stdin = this.#native.memfd('berth-cni');
      theirs.push(stdin);
      const bytes = Buffer.from(input);
      for (let at = 0; at < bytes.length;) at += writeSync(stdin, bytes, at, bytes.length - at, at);
      for (let count = 0; count < 2; count++) {
        const [read, write] = this.#native.pipe();
        mine.push(read);
        theirs.push(write);
      }
      const pid = this.#native.spawn({
        file,
        argv: [file],
        env: environment,
        cwd: '/',
        fds: theirs,
        setsid: true,
        parentDeathSignal: sigkill,
      });
      const [stdout, stderr] = mine.splice(0) as [number, number];
      return { pid, stdout, stderr };
    } finally {
      for (const fd of [...mine, ...theirs]) closeSync(fd);
    }
  }
}

function lingered(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  setTimeout(() => resolve(undefined), lingerMilliseconds).unref();
  return promise;
}
