import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { shimBinary } from './paths.ts';
import { until } from './until.ts';

/** What /proc/PID/stat says, as far as it is used here. */
export interface ProcessStat {
  pid: number;
  parent: number;
  /** One letter, such as 'S' or 'Z'. */
  state: string;
  /** Of all its threads, user and system, in clock ticks of 10 ms. */
  cpuTicks: number;
}

/** Clock ticks a second of /proc (USER_HZ), the same on every Linux that we know. */
export const ticksPerSecond = 100;

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** undefined for a process that is gone. */
export function statOf(pid: number): ProcessStat | undefined {
  const text = readOrNothing(`/proc/${pid}/stat`);
  // The name, in parentheses, may contain anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields.length < 14) return undefined;
  const [state = '', parent] = fields;
  return { pid, parent: Number(parent), state, cpuTicks: Number(fields[11]) + Number(fields[12]) };
}

/** Whether it runs no more: it is gone, or a zombie that its parent (maybe the machine's pid 1, in its own time) has yet to collect. */
export function hasEnded(pid: number): boolean {
  const state = statOf(pid)?.state;
  return state === undefined || state === 'Z';
}

/** Whether a shim of ours has gone to sleep: its program is then the keeper, and no longer a JavaScript host. Does not wake it. */
export function isAsleep(shim: number): boolean {
  return basename(readlinkSync(`/proc/${shim}/exe`)) === basename(shimBinary);
}

export function allProcesses(): ProcessStat[] {
  return readdirSync('/proc')
    .map((name) => (/^[0-9]+$/.test(name) ? statOf(Number(name)) : undefined))
    .filter((stat) => stat !== undefined);
}

/** The process and all that descend from it, except those in `without` and what descends from them. */
export function processTree(root: number, without: ReadonlySet<number> = new Set()): number[] {
  const children = Map.groupBy(allProcesses(), (stat) => stat.parent);
  const tree: number[] = [];
  const visit = (pid: number): void => {
    if (without.has(pid)) return;
    tree.push(pid);
    for (const child of children.get(pid) ?? []) visit(child.pid);
  };
  visit(root);
  return tree;
}

/** Memory that the process shares with nobody, in bytes: what would be free if it ended. 0 for one that is gone. */
export function privateMemoryBytes(pid: number): number {
  const text = readOrNothing(`/proc/${pid}/smaps_rollup`);
  const kilobytes = [...text.matchAll(/^Private_(?:Clean|Dirty):\s+(\d+) kB$/gm)].map((row) => Number(row[1]));
  return kilobytes.reduce((sum, one) => sum + one, 0) * 1024;
}

/** CPU time that the processes have used so far, seconds; resolution 10 ms. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (statOf(pid)?.cpuTicks ?? 0), 0) / ticksPerSecond;
}

/** SIGSTOP, and until it has arrived: each thread stops by itself, and one that has not yet can still answer. */
export async function suspend(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP');
  const isStopped = (task: string) => {
    const text = readOrNothing(`/proc/${pid}/task/${task}/stat`);
    return text[text.lastIndexOf(')') + 2] === 'T';
  };
  await until(`process ${pid} to stop`, () => readdirSync(`/proc/${pid}/task`).every(isStopped));
}
