import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError } from '../linux/index.ts';

/** By what containerd's clients tell one installation from another; it is in the file `uuid` of `root`, and made when it is not. */
export function installationId(root: string): string {
  const path = join(root, 'uuid');
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
  }
  const id = randomUUID();
  writeFileSync(`${path}.new`, `${id}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
  return id;
}
