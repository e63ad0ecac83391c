import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ShimBed } from '../../support/shim-bed.ts';
import { until } from '../../support/until.ts';

/** A container's cgroup, in the one hierarchy that there is. */
export class ContainerCgroup {
  readonly path: string;

  constructor(bed: ShimBed, id: string) {
    this.path = join('/sys/fs/cgroup', bed.scratch.mark, id);
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  /** The content of one of its files, without the last newline. */
  read(file: string): string {
    return readFileSync(join(this.path, file), 'utf8').trimEnd();
  }

  /** The number that a line of one of its files has after this name. */
  count(file: string, name: string): number {
    const line = this.read(file)
      .split('\n')
      .find((text) => text.startsWith(`${name} `));
    assert.ok(line, `${file} has no ${name}`);
    return Number(line.slice(name.length));
  }

  get pids(): number[] {
    return this.read('cgroup.procs').split('\n').filter(Boolean).map(Number);
  }

  async untilItHas(processes: number): Promise<void> {
    await until(`${processes} processes in ${this.path}`, () => this.pids.length === processes);
  }
}
