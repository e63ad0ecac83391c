import { closeSync, fchownSync, lstatSync } from 'node:fs';
import { join } from 'node:path';
import { unlinkQuietly, type NativeAddon, type OutputOptions } from '../linux/index.ts';
import type { ProcessStdio } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { LoggerProcess, Loggers } from './logger-process.ts';
import { parseStreamTarget, type StreamTarget } from './log-uri.ts';
import type { Reactor } from './reactor.ts';
import type { OutputRecord, ProcessRecord, StdioRecord } from './record.ts';

/** How much output is kept for a FIFO whose reader is gone, bytes; then the process gets back-pressure. */
const spoolLimitBytes = 64 * 1024 * 1024;
/** How long a runtime may take to hand over the terminal that it has made, once it has said that it is done. */
const consoleTimeoutMs = 10_000;

export interface StdioOwner {
  containerId: string;
  bundle: string;
  socketFolder: string;
  ioUid: number;
  ioGid: number;
}

/** Makes the pipes, FIFOs, ptys and loggers of processes and hands them to the pump. */
export class StdioFactory {
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #loggers: Loggers;

  constructor(native: NativeAddon, reactor: Reactor, loggers: Loggers) {
    this.#native = native;
    this.#reactor = reactor;
    this.#loggers = loggers;
  }

  /**
   * Everything that the runtime needs before it makes the process. Nothing is left behind when it throws.
   * @throws TtrpcError INVALID_ARGUMENT, NOT_FOUND for a FIFO that is not there
   */
  async prepare(stdio: StdioRecord, name: string, owner: StdioOwner): Promise<PreparedStdio> {
    const targets = { stdout: target(stdio.stdout), stderr: target(stdio.stderr) };
    requireFifo(stdio.stdin);
    const prepared = new PreparedStdio(this.#native, this.#reactor, stdio, targets, owner, name);
    try {
      const logger =
        targets.stdout.kind === 'binary'
          ? targets.stdout
          : targets.stderr.kind === 'binary'
            ? targets.stderr
            : undefined;
      if (logger !== undefined) prepared.logger = await this.#loggers.start(logger, owner.containerId);
      if (stdio.terminal) prepared.openConsoleSocket();
      else prepared.openPipes();
      return prepared;
    } catch (error) {
      prepared.abandon();
      throw error;
    }
  }
}

/** Stdio between "the runtime is about to be run" and "the process is there". Ends with `connect` or `abandon`. */
export class PreparedStdio {
  logger: LoggerProcess | undefined;
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #stdio: StdioRecord;
  readonly #targets: { stdout: StreamTarget; stderr: StreamTarget };
  readonly #owner: StdioOwner;
  readonly #name: string;
  /** The process's ends, closed here once it has them. */
  readonly #childEnds: number[] = [];
  /** Our ends, the pump's in the end. */
  readonly #ours = new Map<'stdin' | 'stdout' | 'stderr', number>();
  #fds: [number, number, number] = [-1, -1, -1];
  #consolePath = '';
  #consoleListener = -1;

  constructor(
    native: NativeAddon,
    reactor: Reactor,
    stdio: StdioRecord,
    targets: { stdout: StreamTarget; stderr: StreamTarget },
    owner: StdioOwner,
    name: string,
  ) {
    this.#native = native;
    this.#reactor = reactor;
    this.#stdio = stdio;
    this.#targets = targets;
    this.#owner = owner;
    this.#name = name;
  }

  /** What to give to the runtime. */
  get forRuntime(): ProcessStdio {
    return this.#stdio.terminal ? { consoleSocket: this.#consolePath } : { fds: this.#fds };
  }

  openPipes(): void {
    if (this.#stdio.stdin !== '') {
      const [read, write] = this.#pipe();
      this.#childEnds.push(read);
      this.#ours.set('stdin', write);
      this.#fds[0] = read;
    }
    this.#fds[1] = this.#outputEnd('stdout');
    this.#fds[2] = this.#outputEnd('stderr');
  }

  #outputEnd(stream: 'stdout' | 'stderr'): number {
    const kind = this.#targets[stream].kind;
    if (kind === 'none') return -1;
    // A logger's pipe is the process's own: nothing stands between them.
    if (kind === 'binary') return this.logger?.[stream] ?? -1;
    const [read, write] = this.#pipe();
    this.#childEnds.push(write);
    this.#ours.set(stream, read);
    return write;
  }

  #pipe(): [number, number] {
    const ends = this.#native.pipe();
    for (const end of ends) fchownSync(end, this.#owner.ioUid, this.#owner.ioGid);
    return ends;
  }

  openConsoleSocket(): void {
    this.#consolePath = join(this.#owner.socketFolder, `${this.#name}.pty`);
    unlinkQuietly(this.#consolePath);
    this.#consoleListener = this.#native.listenUnix(this.#consolePath, 1, 0o600);
  }

  /** Takes the process's stdio into the pump and notes it in the process's record. */
  async connect(record: ProcessRecord): Promise<void> {
    this.#closeChildEnds();
    record.logger = this.logger?.pid ?? 0;
    if (this.#stdio.terminal) await this.#connectConsole(record);
    else this.#connectPipes(record);
    this.logger?.closeEnds();
  }

  #connectPipes(record: ProcessRecord): void {
    const stdin = this.#take('stdin');
    if (stdin >= 0)
      record.input = this.#reactor.addInput({ dest: stdin, destIsPty: false, ...stdinSource(this.#stdio.stdin) });
    for (const stream of ['stdout', 'stderr'] as const) {
      const source = this.#take(stream);
      if (source >= 0) record.outputs.push(this.#addOutput(stream, source, false, record));
    }
  }

  async #connectConsole(record: ProcessRecord): Promise<void> {
    const master = await this.#receiveMaster();
    record.console = master;
    if (this.#stdio.stdin !== '') {
      const dest = this.#native.duplicate(master);
      record.input = this.#reactor.addInput({ dest, destIsPty: true, ...stdinSource(this.#stdio.stdin) });
    }
    record.outputs.push(this.#addOutput('stdout', this.#native.duplicate(master), true, record));
  }

  #addOutput(stream: 'stdout' | 'stderr', source: number, sourceIsPty: boolean, record: ProcessRecord): OutputRecord {
    const id = this.#reactor.addOutput({ source, sourceIsPty, sink: this.#sink(stream, record) });
    return { id, stream, spooling: false };
  }

  #sink(stream: 'stdout' | 'stderr', record: ProcessRecord): OutputOptions['sink'] {
    const to = this.#targets[stream];
    switch (to.kind) {
      case 'none':
        return { kind: 'null' };
      case 'fifo':
        return {
          kind: 'fifo',
          path: to.path,
          spoolPath: spoolPath(this.#owner.bundle, record.execId, stream),
          spoolLimitBytes,
        };
      case 'file':
        return { kind: 'file', path: to.path };
      case 'cri':
        return { kind: 'cri', path: to.path, stream, maxBytes: to.maxBytes };
      case 'binary':
        return { kind: 'fd', fd: this.logger?.takeEnd(stream) ?? -1 };
    }
  }

  /** The runtime has sent the pty's master before it ended; it is waited for all the same, with a bound. */
  async #receiveMaster(): Promise<number> {
    const signal = AbortSignal.timeout(consoleTimeoutMs);
    try {
      let connection = this.#native.accept(this.#consoleListener);
      while (connection < 0) {
        await this.#reactor.readable(this.#consoleListener, signal);
        connection = this.#native.accept(this.#consoleListener);
      }
      try {
        let master = this.#native.receiveDescriptor(connection);
        while (master < 0) {
          await this.#reactor.readable(connection, signal);
          master = this.#native.receiveDescriptor(connection);
        }
        return master;
      } finally {
        closeSync(connection);
      }
    } catch (cause) {
      throw new TtrpcError(Code.Internal, 'the OCI runtime made the process but handed over no terminal', { cause });
    } finally {
      this.#closeConsoleSocket();
    }
  }

  /** Closes and removes everything: the process was not made. */
  abandon(): void {
    this.#closeChildEnds();
    for (const fd of this.#ours.values()) closeSync(fd);
    this.#ours.clear();
    this.#closeConsoleSocket();
    this.logger?.stop();
  }

  #take(end: 'stdin' | 'stdout' | 'stderr'): number {
    const fd = this.#ours.get(end) ?? -1;
    this.#ours.delete(end);
    return fd;
  }

  #closeChildEnds(): void {
    for (const fd of this.#childEnds.splice(0)) closeSync(fd);
  }

  #closeConsoleSocket(): void {
    if (this.#consoleListener < 0) return;
    closeSync(this.#consoleListener);
    this.#consoleListener = -1;
    unlinkQuietly(this.#consolePath);
  }
}

/** Where a process's output waits while its reader is gone. */
export function spoolPath(bundle: string, execId: string, stream: 'stdout' | 'stderr'): string {
  return join(bundle, `${execId === '' ? 'init' : `exec-${execId}`}.${stream}.spool`);
}

/** A path that names no FIFO but something that exists is written to as a file, as containerd's shim does. */
function target(text: string): StreamTarget {
  const parsed = parseStreamTarget(text);
  if (parsed.kind !== 'fifo') return parsed;
  return isFifo(parsed.path) ? parsed : { kind: 'file', path: parsed.path };
}

/** stdin that only attach clients write to. */
const attachOnly = 'attach://';

/** The FIFO of a stdin field; undefined when there is none. @throws TtrpcError INVALID_ARGUMENT for anything else */
function stdinFifo(text: string): string | undefined {
  if (text === '' || text === attachOnly) return undefined;
  const parsed = parseStreamTarget(text);
  if (parsed.kind === 'fifo') return parsed.path;
  throw new TtrpcError(
    Code.InvalidArgument,
    `stdin "${text}" is no FIFO: only a FIFO's path, fifo:// or attach:// can be read from`,
  );
}

function stdinSource(text: string): { fifoPath?: string } {
  const fifoPath = stdinFifo(text);
  return fifoPath === undefined ? {} : { fifoPath };
}

function requireFifo(text: string): void {
  const path = stdinFifo(text);
  if (path !== undefined && !isFifo(path)) throw new TtrpcError(Code.InvalidArgument, `stdin "${path}" is no FIFO`);
}

function isFifo(path: string): boolean {
  try {
    return lstatSync(path).isFIFO();
  } catch (cause) {
    throw new TtrpcError(Code.NotFound, `the FIFO ${path} for stdio is not there: create it before the process`, {
      cause,
    });
  }
}
