import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isSystemError } from '../../linux/index.ts';

const run = promisify(execFile);

/** Removes a folder and what is in it, however deep (what a layer has can be deeper than a path is long); nothing there is fine. */
export async function removeTree(path: string): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', path]);
}

/** Folders for what is not finished. What is in one when the daemon starts was left by a crash. */
export class Scratch {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Removes what was left. */
  async open(): Promise<void> {
    await removeTree(this.#folder);
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
  }

  /** A new folder; its path. */
  make(): string {
    const path = join(this.#folder, randomBytes(8).toString('hex'));
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** Takes a folder from where it is, at once, and then removes it. */
  async discard(path: string): Promise<void> {
    const away = join(this.#folder, randomBytes(8).toString('hex'));
    try {
      renameSync(path, away);
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return;
      throw error;
    }
    await removeTree(away);
  }
}
