import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, isSystemError, messageOf } from '../failure.ts';
import { runLogRoot } from '../logs/run-logs.ts';

/** Makes the folder of one container's log: one that lasts, or one for the time being. */
export async function makeLogFolder(lasting: boolean): Promise<string> {
  const root = lasting ? runLogRoot : tmpdir();
  try {
    if (lasting) await mkdir(root, { recursive: true, mode: 0o700 });
    return await mkdtemp(join(root, lasting ? 'run-' : 'berthctl-run-'));
  } catch (error) {
    const next = isSystemError(error, 'EACCES', 'EPERM') ? 'try again with sudo' : undefined;
    throw new Failure(`cannot make a folder for the log in ${root}: ${messageOf(error)}`, { next, cause: error });
  }
}

/** Removes it; one that is gone is fine. */
export async function removeLogFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}
