import { closeSync } from 'node:fs';
import { dirname } from 'node:path';
import type { NativeAddon } from '../linux/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { ChildSurroundings } from './config.ts';
import type { Exits } from './exits.ts';
import type { Reactor } from './reactor.ts';

/** How long a logger may take to say that it is ready. */
const readyTimeoutMs = 10_000;

export interface LoggerProgram {
  path: string;
  args: string[];
}

/**
 * Starts `binary://` loggers, as containerd's logging package defines them: the container's stdout and stderr are descriptors
 * 3 and 4 of the logger, closing 5 says that it is ready, and CONTAINER_ID and CONTAINER_NAMESPACE are in its environment.
 */
export class Loggers {
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #exits: Exits;
  readonly #surroundings: ChildSurroundings;
  readonly #namespace: string;

  constructor(native: NativeAddon, reactor: Reactor, exits: Exits, surroundings: ChildSurroundings, namespace: string) {
    this.#native = native;
    this.#reactor = reactor;
    this.#exits = exits;
    this.#surroundings = surroundings;
    this.#namespace = namespace;
  }

  /** @throws TtrpcError FAILED_PRECONDITION when it cannot be started, or is not ready in time */
  async start(program: LoggerProgram, containerId: string): Promise<LoggerProcess> {
    const [stdoutRead, stdoutWrite] = this.#native.pipe();
    const [stderrRead, stderrWrite] = this.#native.pipe();
    const [readyRead, readyWrite] = this.#native.pipe();
    const logger = new LoggerProcess(this.#native, stdoutWrite, stderrWrite);
    const loggerEnds = [stdoutRead, stderrRead, readyWrite];
    try {
      logger.pid = this.#native.spawn({
        file: program.path,
        argv: [program.path, ...program.args],
        ...this.#surroundings,
        env: [...this.#surroundings.env, `CONTAINER_ID=${containerId}`, `CONTAINER_NAMESPACE=${this.#namespace}`],
        cwd: dirname(program.path),
        fds: [-1, -1, -1, ...loggerEnds],
        setsid: true,
      });
      this.#exits.on(logger.pid, () => {
        logger.pid = 0;
      });
      for (const fd of loggerEnds.splice(0)) closeSync(fd);
      await this.#reactor.readable(readyRead, AbortSignal.timeout(readyTimeoutMs));
      if (logger.pid === 0) throw new Error('it ended at once');
      return logger;
    } catch (cause) {
      logger.stop();
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new TtrpcError(Code.FailedPrecondition, `the logger ${program.path} did not become ready: ${why}`, {
        cause,
      });
    } finally {
      for (const fd of [...loggerEnds, readyRead]) closeSync(fd);
    }
  }
}

/** A running logger and our ends of its pipes. */
export class LoggerProcess {
  /** 0 once it has ended. */
  pid = 0;
  readonly #native: NativeAddon;
  #ends: { stdout: number; stderr: number };

  constructor(native: NativeAddon, stdout: number, stderr: number) {
    this.#native = native;
    this.#ends = { stdout, stderr };
  }

  get stdout(): number {
    return this.#ends.stdout;
  }

  get stderr(): number {
    return this.#ends.stderr;
  }

  /** Gives the end away; closing it is then somebody else's. */
  takeEnd(stream: 'stdout' | 'stderr'): number {
    const fd = this.#ends[stream];
    this.#ends[stream] = -1;
    return fd;
  }

  /** The process has its own copies now: when it ends, the logger sees the end of the stream. */
  closeEnds(): void {
    for (const fd of [this.takeEnd('stdout'), this.takeEnd('stderr')]) if (fd >= 0) closeSync(fd);
  }

  stop(): void {
    this.closeEnds();
    if (this.pid > 0) this.#native.kill(this.pid, 9);
  }
}
