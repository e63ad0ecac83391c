import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Code, RpcError } from '../../grpc/index.ts';
import type { Answer, ExtractedFile, ExtractTask, FailureKind, Results, Task } from './unpack/protocol.ts';

/** What a task in another process came to, when it came to nothing. */
export class TaskFailure extends Error {
  override readonly name = 'TaskFailure';
  readonly failure: FailureKind;

  constructor(failure: FailureKind, message: string) {
    super(message);
    this.failure = failure;
  }
}

/** As a status for callers. @param what what was being done: "unpacking layer sha256:… of …" */
export function taskError(error: unknown, what: string): unknown {
  if (!(error instanceof TaskFailure)) return error;
  const codes = {
    corrupt: Code.DataLoss,
    malformed: Code.FailedPrecondition,
    noSpace: Code.ResourceExhausted,
    late: Code.DeadlineExceeded,
    internal: Code.Internal,
  } as const;
  return new RpcError(codes[error.failure], `${what}: ${error.message}`, { cause: error });
}

export interface TaskOptions {
  signal?: AbortSignal;
  /** Bytes of the blob or archive that have been taken so far. */
  onProgress?: (bytes: number) => void;
}

const startMilliseconds = 20_000;
/** For one layer, however slowly its content lets itself be unpacked. */
const taskMilliseconds = 30 * 60_000;
/** An idle process waits so long for another layer of the same image. */
const idleMilliseconds = 1_000;

/** The processes that unpack. They are started when they are needed, as many as are allowed, and end when nothing comes. */
export class Unpackers {
  readonly #most: number;
  readonly #addon: string;
  readonly #idle = new Set<UnpackProcess>();
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  /** @param most how many may work at once */
  constructor(most: number, addon: string) {
    this.#most = Math.max(1, most);
    this.#addon = addon;
  }

  /** Starts what will be needed, so that it is ready then. */
  prepare(tasks: number): void {
    const wanted = Math.min(tasks, this.#most) - this.#idle.size - this.#busy;
    for (let i = 0; i < wanted; i++) this.#rest(new UnpackProcess(this.#addon, 'ignore'));
  }

  /** @throws TaskFailure, or the signal's reason: then the process that worked on it has ended */
  async run<K extends 'unpack' | 'inherit'>(
    task: Extract<Task, { kind: K }>,
    options: TaskOptions = {},
  ): Promise<Results[K]> {
    await this.#turn(options.signal);
    try {
      const [idle] = this.#idle;
      const worker = idle ?? new UnpackProcess(this.#addon, 'ignore');
      this.#idle.delete(worker);
      const result = await worker.run(task, options);
      this.#rest(worker);
      return result as Results[K];
    } finally {
      this.#busy--;
      this.#waiting.shift()?.();
    }
  }

  /** Takes an archive apart; see ExtractTask. */
  async extract(task: ExtractTask, archive: Readable, options: TaskOptions = {}): Promise<ExtractedFile[]> {
    const worker = new UnpackProcess(this.#addon, archive);
    try {
      return (await worker.run(task, options)) as ExtractedFile[];
    } finally {
      await worker.end();
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#idle].map((worker) => worker.end()));
  }

  #rest(worker: UnpackProcess): void {
    if (worker.isOver) return;
    this.#idle.add(worker);
    worker.rest(idleMilliseconds, () => this.#idle.delete(worker));
  }

  async #turn(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    while (this.#busy >= this.#most) {
      let go: (() => void) | undefined;
      await new Promise<void>((resolve) => {
        go = resolve;
        this.#waiting.push(resolve);
        signal?.addEventListener('abort', go, { once: true });
      });
      if (go !== undefined) signal?.removeEventListener('abort', go);
      if (signal?.aborted === true) {
        const place = this.#waiting.findIndex((waiting) => waiting === go);
        if (place >= 0) this.#waiting.splice(place, 1);
        else this.#waiting.shift()?.(); // the turn that it was given is the next one's
        throw signal.reason;
      }
    }
    this.#busy++;
  }
}

/** Source beside source, bundle beside bundle. */
function programPath(): string {
  const here = fileURLToPath(import.meta.url);
  return join(dirname(here), here.endsWith('.ts') ? 'unpack/main.ts' : 'unpack.cjs');
}

class UnpackProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #ready: Promise<void>;
  #said = '';
  #answer: ((answer: Answer) => void) | undefined;
  #gone: ((error: Error) => void) | undefined;
  #leave: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  isOver = false;

  constructor(addon: string, input: Readable | 'ignore') {
    this.#child = spawn(process.execPath, ['--disable-sigusr1', programPath(), addon, String(process.pid)], {
      env: {},
      cwd: '/',
      serialization: 'json',
      stdio: [input === 'ignore' ? 'ignore' : 'pipe', 'ignore', 'pipe', 'ipc'],
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-2000);
    });
    this.#exited = new Promise((resolve) => {
      const over = (how: string) => {
        this.isOver = true;
        clearTimeout(this.#timer);
        this.#gone?.(new TaskFailure('internal', `the process that unpacks ended (${how}) ${this.#said}`.trim()));
        this.#leave?.();
        resolve();
      };
      this.#child.once('error', (error) => over(error.message));
      this.#child.once('close', (code, signal) => over(signal ?? `exit code ${code}`));
    });
    const slow = new TaskFailure('internal', 'the process that unpacks does not start');
    this.#ready = this.#next((answer) => answer.kind === 'ready', startMilliseconds, slow).then(() => undefined);
    this.#ready.catch(() => undefined); // whoever gives it a task sees it
    this.#child.on('message', (message) => this.#answer?.(message as Answer));
    if (input !== 'ignore' && this.#child.stdin !== null) feed(input, this.#child.stdin, () => this.#kill());
  }

  async run(task: Task, { signal, onProgress }: TaskOptions): Promise<Results[Task['kind']]> {
    clearTimeout(this.#timer);
    this.#child.ref();
    this.#child.channel?.ref();
    const abort = () => this.#kill();
    signal?.addEventListener('abort', abort, { once: true });
    try {
      signal?.throwIfAborted();
      await this.#ready;
      this.#child.send(task);
      const isLast = (answer: Answer) => {
        if (answer.kind === 'progress') onProgress?.(answer.bytes);
        return answer.kind === 'done' || answer.kind === 'failed';
      };
      const late = new TaskFailure('late', `it has not ended within ${taskMilliseconds / 60_000} minutes`);
      // An archive comes as fast as its sender likes, who ends it by the signal.
      const last = await this.#next(isLast, task.kind === 'extract' ? undefined : taskMilliseconds, late);
      if (last.kind === 'done') return last.result;
      throw last.kind === 'failed' ? new TaskFailure(last.failure, last.message) : new Error('no answer');
    } catch (error) {
      // It may be in the middle of something: only one that has said so is idle.
      this.#kill();
      await this.#exited;
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Ends it when no task comes for a while; `leave` is called when it is no longer to be used. */
  rest(milliseconds: number, leave: () => void): void {
    this.#leave = leave;
    this.#timer = setTimeout(() => {
      leave();
      this.#kill();
    }, milliseconds);
    this.#timer.unref();
    this.#child.unref();
    this.#child.channel?.unref();
  }

  async end(): Promise<void> {
    clearTimeout(this.#timer);
    this.#kill();
    await this.#exited;
  }

  #kill(): void {
    if (!this.isOver) this.#child.kill('SIGKILL');
  }

  async #next(
    isLast: (answer: Answer) => boolean,
    milliseconds: number | undefined,
    late: TaskFailure,
  ): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#gone = reject;
        this.#answer = (answer) => {
          if (isLast(answer)) resolve(answer);
        };
        if (milliseconds !== undefined) {
          timer = setTimeout(() => reject(late), milliseconds);
        }
        if (this.isOver) reject(new TaskFailure('internal', `the process that unpacks has ended ${this.#said}`.trim()));
      });
    } finally {
      clearTimeout(timer);
      this.#gone = undefined;
      this.#answer = undefined;
    }
  }
}

/** An archive goes to the process as it can take it; one whose source fails is given up. */
function feed(archive: Readable, into: NodeJS.WritableStream, fail: () => void): void {
  archive.once('error', fail);
  // The process has ended: that is told by its exit.
  into.on('error', () => archive.destroy());
  archive.pipe(into);
}
