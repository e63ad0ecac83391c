import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSystemError, type NativeAddon } from '../linux/index.ts';

/** Another berthd has that state or root. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError';
}

const lockName = 'berthd.pid';
const folderMode = 0o711;
/** For root alone: whoever can open the file could lock it. */
const fileMode = 0o600;
/** One that is just ending has so long to go. */
const patienceMilliseconds = 1000;
const lookMilliseconds = 50;

/**
 * The right to be the only berthd on some folders: in each a locked file with our pid. The kernel gives the lock back when the process ends,
 * however it ends, so a file that was left behind, or a pid that is another's now, means nothing.
 */
export class InstanceLock implements Disposable {
  readonly #held = new Map<string, number>();

  /**
   * Makes the folders (mode 0711) where they are missing, and takes them.
   * @throws {AlreadyRunningError} with the pid of the other one
   */
  static async take(folders: readonly string[], native: Pick<NativeAddon, 'tryLock'>): Promise<InstanceLock> {
    const lock = new InstanceLock();
    const deadline = performance.now() + patienceMilliseconds;
    try {
      for (const folder of new Set(folders)) {
        mkdirSync(folder, { recursive: true, mode: folderMode });
        while (!lock.#takeOne(folder, native)) {
          if (performance.now() > deadline) throw refusal(folder);
          await sleep(lookMilliseconds);
        }
      }
    } catch (error) {
      lock[Symbol.dispose]();
      throw error;
    }
    return lock;
  }

  /** Gives the folders back and removes the files; safe to call as the process exits. */
  [Symbol.dispose](): void {
    for (const [path, fd] of this.#held) {
      // While the lock is held nobody else can take the file for its own.
      rmSync(path, { force: true });
      closeSync(fd);
    }
    this.#held.clear();
  }

  #takeOne(folder: string, native: Pick<NativeAddon, 'tryLock'>): boolean {
    const path = join(folder, lockName);
    const fd = openSync(path, 'a+', fileMode);
    // The file may have been removed by its holder after it was opened: then the lock is one on nothing.
    if (!native.tryLock(fd) || !isStillThere(fd, path)) {
      closeSync(fd);
      return false;
    }
    ftruncateSync(fd, 0);
    writeSync(fd, `${process.pid}\n`);
    this.#held.set(path, fd);
    return true;
  }
}

function isStillThere(fd: number, path: string): boolean {
  const ours = fstatSync(fd);
  const there = statSync(path, { throwIfNoEntry: false });
  return there?.ino === ours.ino && there.dev === ours.dev;
}

function refusal(folder: string): AlreadyRunningError {
  let holder = 'another berthd';
  try {
    const pid = readFileSync(join(folder, lockName), 'utf8').trim();
    if (/^\d+$/.test(pid)) holder = `another berthd (pid ${pid})`;
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
  }
  return new AlreadyRunningError(
    `${holder} uses ${folder}: stop it first, or give this one folders of its own (--root, --state)`,
  );
}
