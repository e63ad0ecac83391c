import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What it takes to find a shim again: plain JSON, kept in the sandbox's record. */
export interface ShimInfo {
  /** The sandbox's id. */
  readonly id: string;
  /** The runtime handler's name. */
  readonly runtime: string;
  /** Absolute path. */
  readonly shimBinary: string;
  /** STATE/sandboxes/ID. */
  readonly bundle: string;
  /** "unix://" and a path; '' before the shim has said it. */
  readonly address: string;
  /** Of the task service. */
  readonly version: 2 | 3;
  /** Whether it is our own shim, with a sandbox service. */
  readonly ours: boolean;
  /** 0 before it is known. */
  readonly pid: number;
  /** When that process was started, in clock ticks since boot: with the pid it names one process for good. */
  readonly startTicks: string;
}

const file = 'shim-info.json';

/** Notes it in the bundle, so that a manager that has no record of the shim can undo it. */
export function noteShimInfo(info: ShimInfo): void {
  const path = join(info.bundle, file);
  writeFileSync(`${path}.new`, JSON.stringify(info), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** What was noted in the bundle; undefined when nothing was. */
export function notedShimInfo(bundle: string): ShimInfo | undefined {
  try {
    return JSON.parse(readFileSync(join(bundle, file), 'utf8')) as ShimInfo;
  } catch {
    return undefined;
  }
}

/** The path of a shim's socket; undefined for an address that is none in the file system. */
export function socketPathOf(address: string): string | undefined {
  const path = address.replace(/^unix:\/\//, '');
  return path.startsWith('/') ? path : undefined;
}
