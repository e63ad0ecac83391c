import { readdir, rm, rmdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Context } from '../context.ts';
import { isSystemError, messageOf } from '../failure.ts';
import { runLogRoot } from './run-logs.ts';

/** Removes a container's log file and what it was rotated to. What cannot be removed is told, and is no failure. */
export async function removeLogs(context: Context, logPath: string): Promise<void> {
  if (logPath === '') return;
  const folder = dirname(logPath);
  try {
    const name = basename(logPath);
    const logs = (await readdir(folder)).filter((one) => one === name || one.startsWith(`${name}.`));
    for (const one of logs) await rm(`${folder}/${one}`);
    if (dirname(folder) === runLogRoot) await rmdir(folder);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENOTEMPTY'))
      context.say(`berthctl: cannot remove the log ${logPath}: ${messageOf(error)}`);
  }
}
