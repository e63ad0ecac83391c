import { readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSystemError } from '../errors.ts';
import { readCgroupFile } from './files.ts';
import type { CgroupDirectories } from './layout.ts';

const sigkill = 9;
const retryMilliseconds = 10;

/** Every hierarchy that a runtime makes a cgroup in holds all of a container's processes; the first of these that is there is asked. */
const preferred = ['freezer', 'devices', 'pids', 'memory', 'cpu', 'cpuset', ''];

function processHierarchy(directories: CgroupDirectories): string | undefined {
  const controller = preferred.find((name) => name in directories) ?? Object.keys(directories)[0];
  return controller === undefined ? undefined : directories[controller];
}

/** The cgroup and all under it, deepest first; none when it is not there. */
function cgroupTree(directory: string): string[] {
  try {
    const folders = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return [...folders.flatMap((entry) => cgroupTree(join(directory, entry.name))), directory];
  } catch (error) {
    // A container can nest cgroups deeper than a path can be long: what is below is left to who can reach it.
    if (isSystemError(error, 'ENOENT', 'ENODEV', 'ENAMETOOLONG')) return [];
    throw error;
  }
}

function membersOf(directory: string): number[] {
  const lines = (readCgroupFile(join(directory, 'cgroup.procs')) ?? '').split('\n');
  return lines.filter((line) => line !== '').map(Number);
}

/** Pids in the cgroups and in those under them; none when they are gone. Processes of another PID namespace read as 0 and are left out. */
export function processesInCgroups(directories: CgroupDirectories): number[] {
  const directory = processHierarchy(directories);
  if (directory === undefined) return [];
  return cgroupTree(directory)
    .flatMap(membersOf)
    .filter((pid) => pid > 0);
}

/**
 * Sends the signal to every process in the cgroups and in those under them; returns to how many. SIGKILL on v2 also reaches what is
 * forked meanwhile (cgroup.kill).
 */
export function killCgroup(directories: CgroupDirectories, signal: number): number {
  const pids = processesInCgroups(directories);
  const { '': unified } = directories;
  if (signal === sigkill && unified !== undefined && killByFile(unified)) return pids.length;
  return pids.filter((pid) => killOne(pid, signal)).length;
}

/** Whether SIGKILL ends what is frozen: cgroup v2's freezer lets it, that of v1 only when it is thawed. */
export function diesFrozen(directories: CgroupDirectories): boolean {
  return '' in directories && !('freezer' in directories);
}

/** Thaws what cgroup v2's freezer has frozen. Nothing happens where there is none. */
export function thawCgroup(directories: CgroupDirectories): void {
  const { '': unified } = directories;
  if (unified === undefined || !diesFrozen(directories)) return;
  try {
    writeFileSync(join(unified, 'cgroup.freeze'), '0', { flag: 'r+' });
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENODEV')) throw error;
  }
}

function killByFile(directory: string): boolean {
  try {
    writeFileSync(join(directory, 'cgroup.kill'), '1', { flag: 'r+' });
    return true;
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP', 'EACCES')) return false;
    throw error;
  }
}

function killOne(pid: number, signal: number): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    if (isSystemError(error, 'ESRCH')) return false;
    throw error;
  }
}

/**
 * Removes the cgroups and those under them. The kernel refuses it for a moment after the last process has ended, so it is tried
 * until the signal aborts; then it rejects with EBUSY's SystemError. That they are not there is no error.
 */
export async function removeCgroups(directories: CgroupDirectories, signal: AbortSignal): Promise<void> {
  for (const directory of new Set(Object.values(directories))) await removeTree(directory, signal);
}

async function removeTree(directory: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    try {
      for (const cgroup of cgroupTree(directory)) rmdirSync(cgroup);
      return;
    } catch (error) {
      if (!isSystemError(error, 'EBUSY', 'ENOENT') || signal.aborted) throw error;
    }
    await sleep(retryMilliseconds);
  }
}
