import { nowNanoseconds } from '../../wire/index.ts';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A walk is not repeated sooner than this after its end. */
const freshMs = 10_000;
/** Who asks waits no longer: a container can have any number of files. */
const waitMs = 300;
/** A walk ends there: others have their turn, and one container's files are told of as: at least so many. */
const mostWalkMs = 10_000;
const mostInodes = 1_000_000;
/** How many walks go on at once. */
const lanes = 2;
const blockBytes = 512;

export interface DiskUsage {
  /** Nanoseconds since the epoch. */
  readonly at: bigint;
  readonly bytes: bigint;
  readonly inodes: bigint;
}

/**
 * What folders take on the disk. A walk costs, so its result serves for ten seconds; while a long one goes on, what the one before
 * has found is told, or nothing yet.
 */
export class DiskUsages {
  readonly #walks = new Map<string, Promise<DiskUsage>>();
  readonly #last = new Map<string, DiskUsage>();
  readonly #turns: Promise<unknown>[] = Array.from({ length: lanes }, () => Promise.resolve());
  #walksBegun = 0;

  async of(folder: string): Promise<DiskUsage> {
    const late = sleep(waitMs, undefined, { ref: false });
    const walked = await Promise.race([this.#walk(folder), late]);
    return walked ?? this.#last.get(folder) ?? { at: nowNanoseconds(), bytes: 0n, inodes: 0n };
  }

  /** The walk that goes on, or whose result is fresh; else a new one, when it is its turn. */
  #walk(folder: string): Promise<DiskUsage> {
    const known = this.#walks.get(folder);
    if (known !== undefined) return known;
    const lane = this.#walksBegun++ % lanes;
    const walk = (this.#turns[lane] ?? Promise.resolve()).then(() => measure(folder));
    this.#turns[lane] = walk;
    this.#walks.set(folder, walk);
    void walk.then((usage) => {
      this.#last.set(folder, usage);
      const forget = () => {
        this.#walks.delete(folder);
        if (usage.inodes === 0n) this.#last.delete(folder);
      };
      setTimeout(forget, freshMs).unref();
    });
    return walk;
  }
}

/** What there is, or, of a folder that takes too long, what was found of it by then. */
async function measure(folder: string): Promise<DiskUsage> {
  const deadline = performance.now() + mostWalkMs;
  const linked = new Set<string>();
  let bytes = 0n;
  let inodes = 0n;
  const todo = [folder];
  for (let path = todo.pop(); path !== undefined; path = todo.pop()) {
    if (inodes >= mostInodes || performance.now() > deadline) break;
    const stat = await lstat(path, { bigint: true }).catch(() => undefined);
    // It went away meanwhile.
    if (stat === undefined) continue;
    if (stat.nlink > 1n && !stat.isDirectory()) {
      const key = `${stat.dev}:${stat.ino}`;
      if (linked.has(key)) continue;
      linked.add(key);
    }
    bytes += stat.blocks * BigInt(blockBytes);
    inodes += 1n;
    if (stat.isDirectory()) await list(path, todo);
  }
  return { at: nowNanoseconds(), bytes, inodes };
}

async function list(folder: string, into: string[]): Promise<void> {
  try {
    for await (const { name } of await opendir(folder)) {
      into.push(join(folder, name));
      if (into.length >= mostInodes) return;
    }
  } catch {
    // It went away meanwhile.
  }
}
