import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';

/** Finds the programs of plugins, once; whoever cannot run one that was found says `forget`. */
export class PluginBinaries {
  readonly #folders: readonly string[];
  readonly #found = new Map<string, string>();

  constructor(folders: readonly string[]) {
    this.#folders = folders;
  }

  /** What CNI_PATH is. */
  get searchPath(): string {
    return this.#folders.join(':');
  }

  /** Its path in the first folder that has it; undefined when none has. */
  async find(type: string): Promise<string | undefined> {
    const known = this.#found.get(type);
    if (known !== undefined) return known;
    for (const folder of this.#folders) {
      const path = join(folder, type);
      try {
        await access(path, constants.X_OK);
      } catch {
        continue;
      }
      this.#found.set(type, path);
      return path;
    }
    return undefined;
  }

  forget(type: string): void {
    this.#found.delete(type);
  }
}
