import { spawnSync } from 'node:child_process';
import { type Dirent, readFileSync, readdirSync, rmSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onExit } from 'signal-exit';
import { type Place, thisMachine } from './mount-namespace.ts';
import { type Scratch, markVariable } from './scratch.ts';

const cgroupRoot = '/sys/fs/cgroup';
const cgroupDepth = 5;
const settleMilliseconds = 15_000;

export interface MarkedProcess {
  pid: number;
  command: string;
}

/** What vanishes while it is looked at was not there. */
function ifThere<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch {
    return otherwise;
  }
}

const text = (path: string) => ifThere(() => readFileSync(path, 'latin1'), '');
const entries = (folder: string) => ifThere(() => readdirSync(folder, { withFileTypes: true }), [] as Dirent[]);

/** Every process of a test: those started through its containerd carry its mark, those in its containers are in its cgroups. */
export function markedProcesses({ mark }: Scratch): MarkedProcess[] {
  const found: MarkedProcess[] = [];
  for (const { name } of entries('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const started = text(`/proc/${name}/environ`).split('\0').includes(`${markVariable}=${mark}`);
    const contained = text(`/proc/${name}/cgroup`).includes(`/${mark}/`);
    if (!started && !contained) continue;
    const argv = text(`/proc/${name}/cmdline`).split('\0').join(' ').trim();
    found.push({ pid: Number(name), command: argv || `[${text(`/proc/${name}/comm`).trim()}]` });
  }
  return found;
}

function foldersNamed(part: string, folder: string, depth: number): string[] {
  return entries(folder)
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      const below = depth > 1 ? foldersNamed(part, path, depth - 1) : [];
      return entry.name.includes(part) ? [path, ...below] : below;
    });
}

/** The cgroups of a test's containers, in every hierarchy, but not the (empty) ones of its containerd namespace, which nobody removes. */
export function markedCgroups({ mark }: Scratch): string[] {
  const ofNamespace = foldersNamed(mark, cgroupRoot, cgroupDepth);
  return ofNamespace.flatMap((path) => foldersNamed('', path, 2));
}

function everyFile(folder: string): { path: string; kind: string }[] {
  return entries(folder).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return everyFile(path);
    return { path, kind: entry.isFIFO() ? 'FIFO' : entry.isSocket() ? 'socket' : 'file' };
  });
}

/** Loop devices whose file is the test's. */
function loopDevices({ folder }: Scratch): string[] {
  return entries('/sys/block')
    .filter(({ name }) => name.startsWith('loop'))
    .map(({ name }) => `${name} ${text(`/sys/block/${name}/loop/backing_file`).trim()}`)
    .filter((line) => line.includes(folder));
}

/**
 * What a test whose containers are all deleted and whose containerd is stopped has left on the machine, a line for each thing.
 * @param mountsBefore the mount points of `place` when the test began
 */
export function leftovers(scratch: Scratch, place: Place, mountsBefore: string[]): string[] {
  const { folder, mark } = scratch;
  const mountsNow = [
    ...place.mountPoints(),
    ...text('/proc/self/mountinfo')
      .split('\n')
      .filter((line) => line.includes(folder)),
  ];
  const runtimeRoots = ['/run/containerd/runc', '/run/runc', '/run/crun'].map((path) => place.path(path));
  const statesOfRuntimes = runtimeRoots.flatMap((root) => entries(root).map((entry) => join(root, entry.name)));
  const containersOfRuntimes = statesOfRuntimes.flatMap((path) =>
    path.endsWith(mark) ? entries(path).map(({ name }) => `${path}/${name}`) : [],
  );
  const bundles = ['state', 'root'].map((name) => join(folder, name, 'io.containerd.runtime.v2.task', mark));
  const fifos = everyFile(join(folder, 'state')).filter(({ kind }) => kind === 'FIFO');
  return [
    ...markedProcesses(scratch).map(({ pid, command }) => `process ${pid}: ${command}`),
    ...mountsNow.filter((path) => !mountsBefore.includes(path)).map((path) => `mount ${path}`),
    ...markedCgroups(scratch).map((path) => `cgroup ${path}`),
    ...containersOfRuntimes.map((path) => `runtime state ${path}`),
    ...bundles.flatMap((path) => entries(path).map(({ name }) => `bundle ${join(path, name)}`)),
    ...fifos.map(({ path }) => `FIFO ${path}`),
    ...loopDevices(scratch).map((line) => `loop device ${line}`),
    ...(place.path('/') === '/' ? [] : everyFile(place.path('/run')).map(({ kind, path }) => `${kind} ${path}`)),
  ];
}

/** Gives what was told to go a moment to do so, and returns what stayed. */
export async function settled(look: () => string[]): Promise<string[]> {
  const deadline = performance.now() + settleMilliseconds;
  for (;;) {
    const left = look();
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(50);
  }
}

const open = new Set<Scratch>();
let watching = false;

/** Has all that a test makes removed should this process end (a Ctrl-C, the run's time is up) before `sweep` is called. */
export function sweepWhenInterrupted(scratch: Scratch): void {
  open.add(scratch);
  if (watching) return;
  watching = true;
  // Mount namespaces end with this process.
  onExit(() => {
    for (const left of open) {
      endProcesses(left);
      removeFiles(left);
    }
  });
}

/** Removes all that a test made, whatever state it is in: its processes, then its mounts and cgroups, then its folder. */
export async function sweep(scratch: Scratch, unmountAll: () => Promise<void>): Promise<void> {
  endProcesses(scratch);
  await unmountAll();
  removeFiles(scratch);
  open.delete(scratch);
}

/** Waits without an event loop: it is also called when there is none any more. */
function endProcesses(scratch: Scratch): void {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  for (let round = 0; round < 40; round++) {
    const running = markedProcesses(scratch);
    if (running.length === 0) return;
    for (const { pid } of running) ifThere(() => process.kill(pid, 'SIGKILL'), false);
    Atomics.wait(clock, 0, 0, 50);
  }
}

function removeFiles(scratch: Scratch): void {
  const cgroups = foldersNamed(scratch.mark, cgroupRoot, cgroupDepth).flatMap((path) => [
    path,
    ...foldersNamed('', path, 2),
  ]);
  for (const path of cgroups.sort().reverse()) ifThere(() => rmdirSync(path), undefined);
  for (const path of thisMachine.mountPoints().reverse())
    if (path.startsWith(`${scratch.folder}/`)) spawnSync('umount', ['-l', path]);
  rmSync(scratch.folder, { recursive: true, force: true });
}
