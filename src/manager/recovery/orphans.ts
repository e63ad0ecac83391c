import { readdir } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { PodNetwork } from '../network/index.ts';
import type { ContainerRootfs, ContainerRecords, Layout, SandboxFiles, SandboxRecords } from '../pods/index.ts';
import type { Shims } from '../tasks/index.ts';

export interface OrphansOptions {
  readonly layout: Layout;
  readonly sandboxes: SandboxRecords;
  readonly containers: ContainerRecords;
  readonly rootfs: ContainerRootfs;
  readonly files: SandboxFiles;
  readonly starter: Shims;
  readonly network: PodNetwork;
  readonly log: Logger;
}

/** Finds and removes what no record knows: each thing is at a path made of an id, so what has no record with that id is nobody's. */
export class Orphans {
  readonly #o: OrphansOptions;
  readonly #found: { shims: string[]; containers: string[]; namespaces: string[] };

  private constructor(options: OrphansOptions, found: { shims: string[]; containers: string[]; namespaces: string[] }) {
    this.#o = options;
    this.#found = found;
  }

  /** Looks, before anything new is made. */
  static async find(options: OrphansOptions): Promise<Orphans> {
    const { layout, sandboxes, containers, starter } = options;
    const [bundles, writable, namespaces] = await Promise.all([
      names(layout.bundles),
      names(layout.writableLayers),
      names(layout.namespaces),
    ]);
    return new Orphans(options, {
      shims: starter.abandoned(new Set(sandboxes.list().map(({ id }) => id))),
      containers: [...new Set([...bundles, ...writable])].filter((id) => containers.get(id) === undefined),
      namespaces: namespaces.filter((id) => sandboxes.get(id) === undefined),
    });
  }

  /** Removes what was found. */
  async remove(): Promise<void> {
    const { rootfs, files, starter, network, sandboxes } = this.#o;
    const { shims, containers, namespaces } = this.#found;
    await Promise.all(shims.map((id) => this.#quietly('shim', id, () => starter.cleanUpAbandoned(id))));
    await Promise.all(containers.map((id) => this.#quietly('container', id, () => rootfs.remove(id))));
    await this.#quietly('network', 'all', () => network.garbageCollect(new Set(sandboxes.list().map(({ id }) => id))));
    for (const id of namespaces) {
      await this.#quietly('network namespace', id, () => {
        files.releaseNetwork(id);
        return Promise.resolve();
      });
    }
    if (shims.length + containers.length + namespaces.length > 0) {
      const counts = { shims: shims.length, containers: containers.length, namespaces: namespaces.length };
      this.#o.log.info(counts, 'removed what nobody owned');
    }
  }

  async #quietly(what: string, id: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#o.log.error({ id, err: error }, `cannot remove a ${what} that nobody owns`);
    }
  }
}

async function names(folder: string): Promise<string[]> {
  const entries = await readdir(folder).catch(() => [] as string[]);
  return entries.filter((name) => /^[0-9a-f]{64}$/.test(name));
}
