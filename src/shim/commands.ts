import { closeSync, readSync } from 'node:fs';
import type { NativeAddon } from '../linux/index.ts';
import type { Command, CommandResult, CommandRunner, OutputCapture } from '../oci/index.ts';
import type { ChildSurroundings } from './config.ts';
import type { Exits } from './exits.ts';

const sigkill = 9;
const maxCaptureBytes = 1024 * 1024;

/** Runs programs through the addon and learns of their end from the shim's one reaper. */
export class ShimCommands implements CommandRunner {
  readonly #native: NativeAddon;
  readonly #exits: Exits;
  readonly #surroundings: ChildSurroundings;
  #running = 0;

  constructor(native: NativeAddon, exits: Exits, surroundings: ChildSurroundings) {
    this.#native = native;
    this.#exits = exits;
    this.#surroundings = surroundings;
  }

  /** How many are under way. */
  get running(): number {
    return this.#running;
  }

  async run(command: Command, signal: AbortSignal): Promise<CommandResult> {
    signal.throwIfAborted();
    const pid = this.#native.spawn({ ...command, ...this.#surroundings, setsid: true, parentDeathSignal: sigkill });
    this.#running++;
    try {
      return await this.#end(pid, signal);
    } finally {
      this.#running--;
    }
  }

  /** A killed program is waited for before the promise settles: what it did has an end, and can be undone after it. */
  async #end(pid: number, signal: AbortSignal): Promise<CommandResult> {
    const onAbort = (): void => {
      // With what it has started. Until the reaper has collected it the pid cannot be another process's.
      this.#native.kill(-pid, sigkill);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      const result = await new Promise<CommandResult>((resolve) => {
        this.#exits.on(pid, (exit) => {
          resolve({ exitCode: exit.exitCode });
        });
      });
      if (signal.aborted) throw signal.reason;
      return result;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** A capture in memory. */
  capture(): OutputCapture {
    const fd = this.#native.memfd('berth-output');
    return {
      fd,
      text() {
        const buffer = Buffer.alloc(maxCaptureBytes);
        return buffer.toString('utf8', 0, readSync(fd, buffer, 0, maxCaptureBytes, 0));
      },
      close() {
        closeSync(fd);
      },
    };
  }
}
