import { readFileSync } from 'node:fs';
import { type NativeAddon, isSystemError } from '../../linux/index.ts';

/** How a child ended: `exitCode` is 128 + signal where a signal ended it, and `signal` is 0 where none did. */
export interface ChildEnd {
  readonly exitCode: number;
  readonly signal: number;
}

/** SIGCHLD tells at once; this is for the one that could be missed. */
const lookAgainMilliseconds = 200;
const exitCodeField = 52;
const firstFieldAfterName = 3;

/** How it was with a child that somebody else has collected: not known, hence no success. */
const unknownEnd: ChildEnd = { exitCode: 255, signal: 0 };

/** undefined while it runs. */
function endOf(pid: number): ChildEnd | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return unknownEnd;
    throw error;
  }
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields[0] !== 'Z') return undefined;
  const status = Number(fields[exitCodeField - firstFieldAfterName]);
  const signal = status & 0x7f;
  return { signal, exitCode: signal === 0 ? (status >> 8) & 0xff : 128 + signal };
}

/**
 * Waits for children that the addon has spawned. Node's child_process forks the whole daemon, which takes milliseconds of this
 * thread; the addon's spawn does not, and leaves the waiting to us. Node collects none but its own children.
 */
export class ChildEnds {
  readonly #waiting = new Map<number, (end: ChildEnd) => void>();
  readonly #collect: (pid: number) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(native: Pick<NativeAddon, 'createLoop'>) {
    const loop = native.createLoop(); // never started: its reaper would take Node's children too
    this.#collect = (pid) => loop.collect(pid);
  }

  /** When that child has ended; after it, its number is free for another process. */
  wait(pid: number): Promise<ChildEnd> {
    const { promise, resolve } = Promise.withResolvers<ChildEnd>();
    if (this.#waiting.size === 0) {
      process.on('SIGCHLD', this.#look);
      this.#timer = setInterval(this.#look, lookAgainMilliseconds);
    }
    this.#waiting.set(pid, resolve);
    this.#look();
    return promise;
  }

  /** False while threads of it still end: SIGCHLD comes after the last. */
  #collected(pid: number): boolean {
    try {
      this.#collect(pid);
      return true;
    } catch (error) {
      if (isSystemError(error, 'EAGAIN')) return false;
      if (isSystemError(error, 'ECHILD')) return true;
      throw error;
    }
  }

  readonly #look = (): void => {
    for (const [pid, resolve] of this.#waiting) {
      const end = endOf(pid);
      if (end === undefined || !this.#collected(pid)) continue;
      this.#waiting.delete(pid);
      resolve(end);
    }
    if (this.#waiting.size > 0) return;
    process.off('SIGCHLD', this.#look);
    clearInterval(this.#timer);
  };
}
