import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** A walk is not repeated sooner than this. */
const freshMs = 10_000;
const blockBytes = 512;

export interface DiskUsage {
  /** Nanoseconds since the epoch. */
  readonly at: bigint;
  readonly bytes: bigint;
  readonly inodes: bigint;
}

/** What folders take on the disk. A walk costs, so its result serves for ten seconds. */
export class DiskUsages {
  readonly #known = new Map<string, Promise<DiskUsage>>();

  of(folder: string): Promise<DiskUsage> {
    const known = this.#known.get(folder);
    if (known !== undefined) return known;
    const measured = measure(folder);
    this.#known.set(folder, measured);
    setTimeout(() => this.#known.delete(folder), freshMs).unref();
    return measured;
  }
}

async function measure(folder: string): Promise<DiskUsage> {
  let bytes = 0n;
  let inodes = 0n;
  const seen = new Set<string>();
  const visit = async (path: string): Promise<void> => {
    const stat = await lstat(path, { bigint: true }).catch(() => undefined);
    // It went away meanwhile.
    if (stat === undefined) return;
    const key = `${stat.dev}:${stat.ino}`;
    if (stat.nlink > 1n && !stat.isDirectory()) {
      if (seen.has(key)) return;
      seen.add(key);
    }
    bytes += stat.blocks * BigInt(blockBytes);
    inodes += 1n;
    if (!stat.isDirectory()) return;
    for (const name of await readdir(path).catch(() => [] as string[])) await visit(join(path, name));
  };
  await visit(folder);
  return { at: BigInt(Date.now()) * 1_000_000n, bytes, inodes };
}
