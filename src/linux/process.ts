import { readdirSync, readFileSync } from 'node:fs';
import { isSystemError } from './errors.ts';

/** What /proc/PID/stat tells of a process (proc_pid_stat(5)). */
export interface ProcessStatus {
  pid: number;
  /** Its name, at most 15 bytes; it may hold any character. */
  name: string;
  /** `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`. */
  state: string;
  parentPid: number;
  processGroup: number;
  session: number;
  /** Clock ticks since boot: together with the pid this tells one process from a later one with its number. */
  startTicks: bigint;
}

/** Reads the content of /proc/PID/stat. Throws when it is none. */
export function parseProcessStatus(text: string): ProcessStatus {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const fields = text.slice(close + 2).split(' ');
  const [state, parentPid, processGroup, session] = fields;
  const startTicks = fields[19];
  if (open < 1 || close < open || !state || !parentPid || !processGroup || !session || !startTicks) {
    throw new SyntaxError(`not the content of /proc/PID/stat: ${JSON.stringify(text.slice(0, 80))}`);
  }
  return {
    pid: Number(text.slice(0, open)),
    name: text.slice(open + 1, close),
    state,
    parentPid: Number(parentPid),
    processGroup: Number(processGroup),
    session: Number(session),
    startTicks: BigInt(startTicks),
  };
}

/** undefined when there is no such process. A zombie is one (state `Z`). */
export function readProcessStatus(pid: number): ProcessStatus | undefined {
  try {
    return parseProcessStatus(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}

/** Pids of a process's children, zombies too. Children that come or go meanwhile may be missing. */
export function childProcesses(pid: number | 'self' = 'self'): number[] {
  const children: number[] = [];
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const text = readText(`/proc/${pid}/task/${thread}/children`);
    children.push(
      ...text
        .split(' ')
        .filter((field) => field !== '')
        .map(Number),
    );
  }
  return children;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return '';
    throw error;
  }
}

/** Private memory of a process in KB (smaps_rollup), clean pages of its program included; undefined when there is none. */
export function privateMemoryKilobytes(pid: number | 'self' = 'self'): { clean: number; dirty: number } | undefined {
  const text = readText(`/proc/${pid}/smaps_rollup`);
  const [, clean] = /^Private_Clean: +([0-9]+) kB$/m.exec(text) ?? [];
  const [, dirty] = /^Private_Dirty: +([0-9]+) kB$/m.exec(text) ?? [];
  return clean !== undefined && dirty !== undefined ? { clean: Number(clean), dirty: Number(dirty) } : undefined;
}
