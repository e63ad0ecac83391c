import { closeSync } from 'node:fs';
import type { ChildExit, NativeAddon } from '../linux/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { ExpectedExits, Exits } from './exits.ts';
import { abortable, Deferred, withinMs } from './lock.ts';
import { requireTransition } from './process-state.ts';
import type { Reactor } from './reactor.ts';
import type { ExitRecord, ProcessRecord, ProcessStateName, StdioRecord } from './record.ts';

/** A reader that takes nothing holds an exit up for this long; then the rest goes to the spool and the exit is told. */
const drainGraceMs = 1000;
/** At delete: how long a reader that is there may take nothing before the rest is given up. */
const finishGraceMs = 10_000;
/** At delete, when there is no reader. */
const finishWithoutReaderGraceMs = 100;
/** What a `binary://` logger gets when its streams have ended, and how long it may take then, milliseconds. */
const loggerEndings: readonly [signal: number, graceMs: number][] = [
  [0, 12_000],
  [15, 1000],
  [9, 1000],
];

export function newProcessRecord(execId: string, stdio: StdioRecord, spec = ''): ProcessRecord {
  return {
    execId,
    state: 'created',
    stdio,
    pid: 0,
    exit: null,
    input: 0,
    outputs: [],
    console: -1,
    pidfd: -1,
    logger: 0,
    spec,
  };
}

/** One process of a container, its first or an exec: its state, its stdio, and who waits for its end. */
export class Process {
  readonly record: ProcessRecord;
  /** For messages: `container "x"` or `exec "y" of container "x"`. */
  readonly name: string;
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #stopped = new Deferred<ExitRecord>();
  #loggerEnded: Deferred<void> | undefined;

  constructor(record: ProcessRecord, name: string, native: NativeAddon, reactor: Reactor) {
    this.record = record;
    this.name = name;
    this.#native = native;
    this.#reactor = reactor;
    if (record.state === 'stopped' && record.exit !== null) this.#stopped.resolve(record.exit);
  }

  get state(): ProcessStateName {
    return this.record.state;
  }

  /** @throws TtrpcError FAILED_PRECONDITION */
  transition(to: ProcessStateName): void {
    requireTransition(this.name, this.record.state, to);
    this.record.state = to;
  }

  /** Notes the pid that a runtime has told, with a descriptor that stays this very process's even when the number is used again. */
  attachPid(pid: number, exits: ExpectedExits): void {
    this.record.pid = pid;
    try {
      this.record.pidfd = this.#native.pidfdOpen(pid);
    } catch {
      // It has ended and was collected already; its exit was kept.
    }
    exits.on(pid, (exit) => {
      this.noteExit(exit);
    });
  }

  /** The process has ended, as the reaper saw it. Its end is announced later, by `announceStopped`. */
  noteExit(exit: ChildExit): void {
    this.record.exit ??= { status: exit.exitCode, at: exit.atNanoseconds.toString() };
  }

  /** Everything written before now is delivered, or waits in the spool. */
  async drain(): Promise<void> {
    await Promise.all(this.record.outputs.map((output) => this.#reactor.drain(output.id, drainGraceMs)));
  }

  markStopped(): void {
    this.transition('stopped');
    if (this.record.pidfd >= 0) closeSync(this.record.pidfd);
    this.record.pidfd = -1;
  }

  /** Tells whoever waits. */
  announceStopped(exit: ExitRecord): void {
    this.#stopped.resolve(exit);
  }

  /** Resolves when the process's end has been announced. */
  async wait(signal?: AbortSignal): Promise<ExitRecord> {
    return signal === undefined ? await this.#stopped.promise : await abortable(this.#stopped.promise, signal);
  }

  /** The process is deleted: whoever waits for the end of one that never started learns that there will be none. */
  releaseWaiters(): void {
    this.#stopped.promise.catch(() => undefined);
    this.#stopped.reject(new TtrpcError(Code.NotFound, `${this.name} is deleted`));
  }

  /** @throws TtrpcError NOT_FOUND when it has ended, FAILED_PRECONDITION when it never started */
  signal(signal: number): void {
    const { pid, exit, pidfd } = this.record;
    if (exit !== null || this.state === 'stopped')
      throw new TtrpcError(Code.NotFound, `${this.name}: process already finished`);
    if (pid === 0) throw new TtrpcError(Code.FailedPrecondition, `${this.name} has no process yet: start it first`);
    try {
      if (pidfd >= 0) this.#native.pidfdSendSignal(pidfd, signal);
      else this.#native.kill(pid, signal);
    } catch (cause) {
      const { code } = cause as { code?: string };
      if (code === 'ESRCH') throw new TtrpcError(Code.NotFound, `${this.name}: process already finished`, { cause });
      if (code === 'EINVAL') throw new TtrpcError(Code.InvalidArgument, `${signal} is no signal`, { cause });
      throw cause;
    }
  }

  /** A process without a terminal has no size: the call does nothing, as with other shims. */
  resize(columns: number, rows: number): void {
    if (this.state === 'stopped')
      throw new TtrpcError(Code.FailedPrecondition, `cannot resize ${this.name}: it is stopped`);
    if (this.record.console >= 0) this.#native.setWindowSize(this.record.console, columns, rows);
  }

  /** Ends stdin once what was written to it has been read. A second call does nothing. */
  closeStdin(): void {
    const id = this.record.input;
    if (id === 0) return;
    try {
      this.#reactor.loop.closeInput(id);
    } catch {
      // the process closed it first
    }
  }

  /** Opens the log files of the output anew by their paths, after they were renamed. Other outputs have none. */
  reopenLogs(): void {
    for (const output of this.record.outputs) {
      try {
        this.#reactor.loop.reopenOutput(output.id);
      } catch {
        // it has ended, or is no file
      }
    }
  }

  /** Delivers what is left of the output, closes everything, and ends the logger. */
  async closeStdio(): Promise<void> {
    if (this.record.input !== 0) this.#removeInput();
    const outputs = this.record.outputs.splice(0);
    await Promise.all(
      outputs.map((output) =>
        this.#reactor.finish(output.id, output.spooling ? finishWithoutReaderGraceMs : finishGraceMs),
      ),
    );
    if (this.record.console >= 0) closeSync(this.record.console);
    this.record.console = -1;
    await this.#endLogger();
  }

  #removeInput(): void {
    try {
      this.#reactor.loop.removeInput(this.record.input);
    } catch {
      // gone with the process
    }
    this.record.input = 0;
  }

  /** From now on the record knows when the logger ends. */
  watchLogger(exits: Exits): void {
    if (this.record.logger === 0) return;
    this.#loggerEnded = new Deferred<void>();
    exits.on(this.record.logger, () => {
      this.record.logger = 0;
      this.#loggerEnded?.resolve();
    });
  }

  async #endLogger(): Promise<void> {
    const ended = this.#loggerEnded?.promise;
    if (ended === undefined) return;
    for (const [signal, graceMs] of loggerEndings) {
      if (this.record.logger === 0) return;
      if (signal !== 0) this.#native.kill(this.record.logger, signal);
      await withinMs(ended, graceMs);
    }
  }
}
