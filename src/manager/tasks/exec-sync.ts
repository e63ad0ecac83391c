import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Code, isRpcError, RpcError } from '../../grpc/index.ts';
import { isSystemError, unlinkQuietly, type NativeAddon } from '../../linux/index.ts';
import { BoundedOutput } from './bounded-output.ts';
import { type Deadlines, within } from './deadlines.ts';
import { FifoReader } from './fifo-reader.ts';
import type { Exit } from './shim-command.ts';

const sigkill = 9;
const fifoMode = 0o600;
/** Output that has not ended, and of which nothing comes for so long, is held open by somebody who has nothing to say. */
const quietMs = 150;

export interface ExecSyncOptions {
  /** The program and its arguments. */
  readonly args: readonly string[];
  /** `process` of the container's config.json: user, environment, working directory and all else. */
  readonly processSpec: object;
  /** Past it the program is killed; 0: it may run for ever. */
  readonly timeoutMs: number;
  /** Of stdout and of stderr each; what is beyond is read and dropped. */
  readonly maxOutputBytes: number;
  /** Gives it up: the program is killed. */
  readonly signal?: AbortSignal;
}

export interface ExecSyncResult {
  stdout: Buffer;
  stderr: Buffer;
  /** 128 + the signal that ended it. */
  exitCode: number;
}

/** The calls of a shim that an exec takes. */
export interface ExecCalls {
  exec(id: string, execId: string, spec: object, stdio: { stdout: string; stderr: string }): Promise<void>;
  start(id: string, execId: string): Promise<number>;
  wait(id: string, execId: string, signal?: AbortSignal): Promise<Exit>;
  kill(id: string, signal: number, options: { execId: string }): Promise<void>;
  delete(id: string, execId: string): Promise<unknown>;
}

/**
 * Runs programs in containers to their ends. Their output comes through FIFOs in a folder of its own; the names tell a later manager
 * which execs a dead one has left.
 */
export class ExecSync {
  readonly #calls: ExecCalls;
  readonly #folder: string;
  readonly #native: NativeAddon;
  readonly #deadlines: Deadlines;

  constructor(calls: ExecCalls, folder: string, native: NativeAddon, deadlines: Deadlines) {
    this.#calls = calls;
    this.#folder = folder;
    this.#native = native;
    this.#deadlines = deadlines;
  }

  /** @throws RpcError DEADLINE_EXCEEDED, CANCELLED, and what the shim fails with */
  async run(id: string, options: ExecSyncOptions): Promise<ExecSyncResult> {
    const { args, processSpec, timeoutMs, maxOutputBytes, signal } = options;
    const execId = randomBytes(16).toString('hex');
    const paths = this.#paths(id, execId);
    const output = { stdout: new BoundedOutput(maxOutputBytes), stderr: new BoundedOutput(maxOutputBytes) };
    const readers: FifoReader[] = [];
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    let isAdded = false;
    try {
      for (const stream of ['stdout', 'stderr'] as const) {
        this.#native.mkfifo(paths[stream], fifoMode);
        readers.push(new FifoReader(paths[stream], { take: (bytes) => output[stream].add(bytes) }));
      }
      await this.#calls.exec(id, execId, { ...processSpec, args, terminal: false }, paths);
      isAdded = true;
      const { exitStatus } = await this.#runToEnd(id, execId, timeoutMs, signal);
      // A descendant may hold the output open: the shim lets go of it when the exec is deleted.
      if (!(await this.#drained(readers))) {
        isAdded = false;
        await this.#delete(id, execId);
        await this.#drained(readers);
      }
      return { stdout: output.stdout.bytes, stderr: output.stderr.bytes, exitCode: exitStatus };
    } finally {
      for (const reader of readers) reader.close();
      for (const path of Object.values(paths)) unlinkQuietly(path);
      // The caller need not wait for it.
      if (isAdded) void this.#delete(id, execId);
    }
  }

  /** Ends the execs that an earlier manager was waiting for when it died. */
  async endLeftBehind(): Promise<void> {
    const names = this.#names().map((name) => name.split('.'));
    const execs = new Map(names.map(([id = '', execId = '']) => [execId, id]));
    await Promise.all([...execs].map(([execId, id]) => this.#end(id, execId)));
    for (const [execId, id] of execs) for (const path of Object.values(this.#paths(id, execId))) unlinkQuietly(path);
  }

  /** Waits for the end of the output while there is any; false when it comes to none. */
  async #drained(readers: readonly FifoReader[]): Promise<boolean> {
    const ended = Promise.all(readers.map((reader) => reader.ended));
    const read = () => readers.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
    const deadline = performance.now() + this.#deadlines.drainMs;
    for (let before = -1; before !== read() && performance.now() < deadline;) {
      before = read();
      if (await within(ended, quietMs)) return true;
    }
    return false;
  }

  #paths(id: string, execId: string): { stdout: string; stderr: string } {
    const path = join(this.#folder, `${id}.${execId}`);
    return { stdout: `${path}.out`, stderr: `${path}.err` };
  }

  #names(): string[] {
    try {
      return readdirSync(this.#folder);
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return [];
      throw error;
    }
  }

  async #runToEnd(id: string, execId: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<Exit> {
    const signals = [...(timeoutMs > 0 ? [AbortSignal.timeout(timeoutMs)] : []), ...(signal ? [signal] : [])];
    const limit = AbortSignal.any(signals);
    const running = this.#calls.start(id, execId).then(() => this.#calls.wait(id, execId, limit));
    const given = Promise.withResolvers<never>();
    const giveUp = () => given.reject(limit.reason);
    if (limit.aborted) giveUp();
    limit.addEventListener('abort', giveUp);
    try {
      return await Promise.race([running, given.promise]);
    } catch (error) {
      if (!limit.aborted) throw error;
      // A start that is under way may still make a process: it ends too, whenever that is.
      const ending = running.then(
        () => undefined,
        () => this.#end(id, execId),
      );
      await within(ending, this.#deadlines.killMs);
      if (signal?.aborted === true) throw new RpcError(Code.Cancelled, `the program in container "${id}" was given up`);
      throw new RpcError(
        Code.DeadlineExceeded,
        `the program in container "${id}" has not ended within ${timeoutMs / 1000} s and was killed`,
      );
    } finally {
      limit.removeEventListener('abort', giveUp);
    }
  }

  async #end(id: string, execId: string): Promise<void> {
    try {
      await this.#calls.kill(id, sigkill, { execId });
      await this.#calls.wait(id, execId, AbortSignal.timeout(this.#deadlines.killMs));
    } catch (error) {
      if (!isRpcError(error)) throw error;
    }
    await this.#delete(id, execId);
  }

  async #delete(id: string, execId: string): Promise<void> {
    try {
      await this.#calls.delete(id, execId);
    } catch (error) {
      // The container, the shim or the exec is gone; or the exec is stuck, and goes with its container.
      if (!isRpcError(error)) throw error;
    }
  }
}
