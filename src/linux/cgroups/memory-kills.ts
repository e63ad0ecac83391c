import { closeSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError } from '../errors.ts';
import type { NativeAddon } from '../native.ts';
import { cgroupFileReader, parseKeyed } from './files.ts';
import type { CgroupDirectories } from './layout.ts';

/** Reads memory.events (v2) or memory.oom_control (v1): how many processes the OOM killer has ended. */
export function parseOomKills(text: string): number {
  return Number(parseKeyed(text).get('oom_kill') ?? 0n);
}

/** Processes that the OOM killer has ended in the cgroup (on v2 in those under it too); undefined when there is no memory cgroup. */
export function readOomKills(directories: CgroupDirectories): number | undefined {
  const read = cgroupFileReader(directories);
  const text = read('memory', 'memory.oom_control') ?? read('', 'memory.events');
  return text === undefined ? undefined : parseOomKills(text);
}

/** A descriptor that becomes ready when the OOM killer may have struck. The caller closes it. */
export interface OomNotifier {
  fd: number;
  /** true: ready is POLLPRI (v2); false: POLLIN (v1). */
  priority: boolean;
  /** To be called when it is ready, before the counter is read: it can then become ready again. */
  acknowledge: () => void;
}

/** undefined when there is no memory cgroup to watch. */
export function openOomNotifier(directories: CgroupDirectories, native: NativeAddon): OomNotifier | undefined {
  const { memory, '': unified } = directories;
  try {
    if (memory !== undefined) return notifier(native.oomEventfd(memory), false);
    if (unified !== undefined) return notifier(openSync(join(unified, 'memory.events'), 'r'), true);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENODEV')) throw error;
  }
  return undefined;
}

function notifier(fd: number, priority: boolean): OomNotifier {
  const buffer = Buffer.alloc(4096);
  const acknowledge = (): void => {
    try {
      // memory.events tells of changes since it was last read, from its beginning; an eventfd has no position.
      readSync(fd, buffer, 0, priority ? buffer.length : 8, priority ? 0 : null);
    } catch (error) {
      if (!isSystemError(error, 'EAGAIN', 'ENODEV')) throw error;
    }
  };
  try {
    acknowledge();
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return { fd, priority, acknowledge };
}
