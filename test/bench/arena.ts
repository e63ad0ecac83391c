import { execFileSync } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { thisMachine } from '../support/mount-namespace.ts';
import { ociRuntimes } from '../support/paths.ts';
import { type ContainerOptions, ShimBed } from '../support/shim-bed.ts';
import { type CreateOptions, runcOptions, type ShimClient, type ShimOptions } from '../support/shim-client.ts';
import type { Contestant } from './contestants.ts';

/** Where all contestants meet: one root file system, one sink for events, one way to make a bundle. */
export class Arena {
  readonly bed: ShimBed;
  /** The probe, for this machine; containers have the same one at /bin/probe. */
  readonly probe: string;
  #made = 0;

  private constructor(bed: ShimBed, probe: string) {
    this.bed = bed;
    this.probe = probe;
  }

  static async open(): Promise<Arena> {
    const bed = await ShimBed.open(undefined, { place: thisMachine });
    const probe = bed.path('probe');
    execFileSync('gcc', ['-O2', '-static', '-o', probe, join(import.meta.dirname, 'probe.c')]);
    copyFileSync(probe, join(bed.rootfs, 'bin/probe'));
    return new Arena(bed, probe);
  }

  /** A name that no other container has. */
  newId(contestant: Contestant): string {
    return `${contestant.name.replace(/[^A-Za-z0-9]/g, '-')}-${++this.#made}`;
  }

  /** A bundle for a contestant; the same for all but for its name. */
  bundle(contestant: Contestant, id: string, args: string[], options: ContainerOptions = {}): ShimOptions {
    return this.bed.bundle(id, args, { shim: contestant.shim, ...options });
  }

  async create(contestant: Contestant, client: ShimClient, options: CreateOptions): Promise<number> {
    return client.create({ options: runcOptions({ binaryName: ociRuntimes[contestant.runtime] }), ...options });
  }

  async close(): Promise<void> {
    await this.bed.close();
  }
}
