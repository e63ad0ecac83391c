import { type FSWatcher, statSync, watch } from 'node:fs';
import { dirname } from 'node:path';

export interface ConfWatchOptions {
  readonly folder: string;
  /** Called some milliseconds after something changed; not again before it has ended. */
  readonly changed: () => Promise<void>;
  /** Changes when the folder's files do. */
  readonly signature: () => Promise<string>;
}

/** A program that writes several files, or one in pieces, is given time to finish. */
const settleMilliseconds = 50;
/** For what inotify cannot tell: links to other folders, network file systems, watches that could not be had. */
const pollMilliseconds = 5000;

/** What tells a folder from another that comes to its place later; undefined for none. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino, birthtimeNs } = statSync(path, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs}`;
  } catch {
    return undefined;
  }
}

/** Sees changes of a folder that may not be there yet, may go and come back, and whose files are replaced by renaming. */
export class ConfWatch {
  readonly #options: ConfWatchOptions;
  #watcher: FSWatcher | undefined;
  /** Path and identity of what is watched. */
  #watched = '';
  #settling: NodeJS.Timeout | undefined;
  #lastSignature = '';
  readonly #poll: NodeJS.Timeout;
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: ConfWatchOptions) {
    this.#options = options;
    this.#arm();
    this.#poll = setInterval(() => this.#enqueue(false), pollMilliseconds).unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#settling);
    clearInterval(this.#poll);
    this.#watcher?.close();
  }

  /** Watches the folder, or what is nearest to where it will be; false when that is what is watched already. */
  #arm(): boolean {
    let target = this.#options.folder;
    let identity = identityOf(target);
    while (identity === undefined && dirname(target) !== target) {
      target = dirname(target);
      identity = identityOf(target);
    }
    const watched = `${target} ${identity ?? ''}`;
    if (this.#closed || (this.#watcher !== undefined && this.#watched === watched)) return false;
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watched = watched;
    try {
      const watcher = watch(target, { persistent: false }, () => this.#touched());
      watcher.on('error', () => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = undefined;
        this.#touched();
      });
      this.#watcher = watcher;
    } catch {
      // no watch is to be had: polling must do
    }
    return true;
  }

  #touched(): void {
    if (this.#closed || this.#settling !== undefined) return;
    this.#settling = setTimeout(() => {
      this.#settling = undefined;
      const other = this.#arm();
      // What happens in the folders above is none of our business.
      if (other || this.#watched.startsWith(`${this.#options.folder} `)) this.#enqueue(true);
    }, settleMilliseconds).unref();
  }

  #enqueue(certain: boolean): void {
    this.#work = this.#work.then(() => this.#look(certain)).catch(() => undefined);
  }

  async #look(certain: boolean): Promise<void> {
    const signature = await this.#options.signature();
    const changed = signature !== this.#lastSignature;
    this.#lastSignature = signature;
    if (this.#closed || !(certain || changed)) return;
    if (!certain) this.#arm();
    await this.#options.changed();
  }
}
