/**
 * What a run has left behind. It has mount, network and PID namespaces of its own, and all else that it makes carries its tag (in its
 * folder's path, hence in mounts, and in its containers' ids, hence in cgroups): so what others do meanwhile is never taken for ours.
 */
import { type Dirent, readdirSync, readFileSync, rmdirSync, rmSync, statfsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const cgroupRoot = '/sys/fs/cgroup';
const cgroupDepth = 6;
/** Magic numbers of cgroup v1 and cgroup2, as statfs gives them. */
const cgroupFileSystems = [0x27e0eb, 0x63677270];
const namespaceFolders = '/run/containerd/runc';
const runtimeStateRoots = [namespaceFolders, '/run/runc', '/run/crun', '/run/containerd/s'];

/** What vanishes while it is looked at was not there. */
function ifThere<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}

const read = (path: string) => ifThere(() => readFileSync(path, 'latin1'), '');
const list = (path: string) => ifThere(() => readdirSync(path, { withFileTypes: true }), [] as Dirent[]);

function parentOf(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  return Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]);
}

export interface SeenProcess {
  pid: number;
  what: string;
}

/** Processes of the run, this one and its ancestors not counted. */
export function processes(): SeenProcess[] {
  const mine = new Set<number>();
  for (let pid = process.pid; pid > 0; pid = parentOf(pid)) mine.add(pid);
  const others = list('/proc')
    .map(({ name }) => Number(name))
    .filter((pid) => pid > 0 && !mine.has(pid));
  return others.map((pid) => {
    const argv = read(`/proc/${pid}/cmdline`).split('\0').join(' ').trim();
    return { pid, what: `process ${pid}: ${argv || `[${read(`/proc/${pid}/comm`).trim()}]`}` };
  });
}

/** Paths below the folder whose last part contains the tag. */
function tagged(folder: string, tag: string, depth: number): string[] {
  return list(folder).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.name.includes(tag)) return [path];
    return entry.isDirectory() && depth > 1 ? tagged(path, tag, depth - 1) : [];
  });
}

/** crun makes folders of the same names where a cgroup2 mount could be. */
const isCgroup = (path: string) => cgroupFileSystems.includes(statfsSync(path).type);

const cgroups = (tag: string) => tagged(cgroupRoot, tag, cgroupDepth).filter(isCgroup);
const runtimeStates = (tag: string) => runtimeStateRoots.flatMap((root) => tagged(root, tag, 2));

/** One line a cgroup, however many hierarchies it is in. */
function cgroupLines(tag: string): string[] {
  return [...Map.groupBy(cgroups(tag), (path) => basename(path))].map(([name, paths]) => {
    const where = paths.map((path) => path.slice(cgroupRoot.length + 1, -name.length - 1) || '.');
    return `cgroup ${name} in ${where.join(', ')}`;
  });
}

/** The mount points of this namespace, for `leftovers`' second argument. */
export function mountPoints(): string[] {
  const lines = read('/proc/self/mountinfo').split('\n').filter(Boolean);
  return lines.map((line) => line.split(' ')[4] ?? '');
}

/**
 * A line for each thing that is still there.
 * @param mountsBefore what `mountPoints` gave before the run
 * @param folder must be empty
 */
export function leftovers(tag: string, mountsBefore: readonly string[], folder: string): string[] {
  return [
    ...processes().map((one) => one.what),
    ...mountPoints()
      .filter((path) => !mountsBefore.includes(path))
      .map((path) => `mount ${path}`),
    ...cgroupLines(tag),
    ...runtimeStates(tag).map((path) => `runtime state ${path}`),
    ...list(folder).map(({ name }) => `file ${join(folder, name)}`),
  ];
}

/** Waits for nothing to be left: a process that was told to go needs a moment. Returns what stayed. */
export async function settle(look: () => string[], seconds: number): Promise<string[]> {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const left = look();
    if (left.length === 0 || Date.now() > deadline) return left;
    await sleep(100);
  }
}

/** Removes what a failed run left (its mounts go with its namespace): ends its processes, removes its cgroups and states. */
export async function clear(tag: string): Promise<void> {
  for (let round = 0; round < 20; round++) {
    const running = processes();
    if (running.length === 0) break;
    for (const { pid } of running) ifThere(() => process.kill(pid, 'SIGKILL'), false);
    await sleep(100);
  }
  for (const path of cgroups(tag)) ifThere(() => rmdirSync(path), undefined);
  for (const path of runtimeStates(tag)) rmSync(path, { recursive: true, force: true });
}

/** Folders of containerd namespaces, for `removeNamespaceFolders`. */
export const listNamespaceFolders = () => list(namespaceFolders).map((entry) => entry.name);

/** The suite invents a namespace for each test, and a shim keeps a namespace's (then empty) folder: removes the new ones. */
export function removeNamespaceFolders(before: readonly string[]): void {
  for (const name of listNamespaceFolders()) {
    if (!name.startsWith('shimtest-') || before.includes(name)) continue;
    ifThere(() => rmdirSync(join(namespaceFolders, name)), undefined); // what is in one that is not empty is reported
  }
}
