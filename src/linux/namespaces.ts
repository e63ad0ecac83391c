import { rmSync, statSync } from 'node:fs';
import { isSystemError } from './errors.ts';
import type { NativeAddon } from './native.ts';
import { detachMount } from './mounts.ts';

/** CLONE_NEW* bits for `spawn` (clone(2)). */
export const cloneFlags = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  user: 0x10000000,
  pid: 0x20000000,
  network: 0x40000000,
} as const;

export type NamespaceKind = 'cgroup' | 'ipc' | 'mnt' | 'net' | 'pid' | 'user' | 'uts';

export function namespacePath(pid: number | 'self', kind: NamespaceKind): string {
  return `/proc/${pid}/ns/${kind}`;
}

/** What tells one namespace from another, whatever path leads to it: `device:inode`. */
export function namespaceIdentity(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}

/** Undoes `pinNewNamespace`: the namespace ends when its last process has. That there is none is no error. */
export function unpinNamespace(path: string, native: NativeAddon): void {
  try {
    while (detachMount(path, native));
    rmSync(path);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
  }
}
