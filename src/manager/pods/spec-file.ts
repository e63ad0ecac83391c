import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Spec } from '../../oci/index.ts';
import type { Layout } from './layout.ts';

const mode = 0o600;

/** The OCI runtime specification in a container's bundle. */
export class SpecFile {
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  async read(containerId: string): Promise<Spec> {
    return JSON.parse(await readFile(this.#path(containerId), 'utf8')) as Spec;
  }

  /** Whoever reads it at the same time has the old one or the new one, and so has whoever comes after a crash. */
  async write(containerId: string, spec: Spec): Promise<void> {
    const path = this.#path(containerId);
    await writeFile(`${path}.new`, JSON.stringify(spec), { mode });
    await rename(`${path}.new`, path);
  }

  #path(containerId: string): string {
    return join(this.#layout.bundle(containerId), 'config.json');
  }
}
