import { writeFile } from 'node:fs';
import { join } from 'node:path';
import { type CgroupLayout, cgroupsOfProcess, detectCgroupLayout } from './layout.ts';

/**
 * The first process that is moved to another cgroup after a while waits for a grace period of RCU in the kernel, some 15 ms (its
 * `rcu_sync` of cgroup_threadgroup_rwsem); moves that follow soon do not. This has the kernel begin with it while there is other work to
 * do, by moving this process to where it is.
 */
export class CgroupMoves {
  #layout: CgroupLayout | undefined;
  #isUnderWay = false;

  /** One is about to happen. Returns at once; that it cannot be hastened harms nobody. */
  expect(): void {
    if (this.#isUnderWay) return;
    const path = this.#ownProcs();
    if (path === undefined) return;
    this.#isUnderWay = true;
    // It is there, or we are not to make it.
    writeFile(path, String(process.pid), { flag: 'r+' }, () => (this.#isUnderWay = false));
  }

  /** Where it is now: whoever manages us may have moved us. */
  #ownProcs(): string | undefined {
    try {
      this.#layout ??= detectCgroupLayout();
      const [directory] = Object.values(cgroupsOfProcess(this.#layout, 'self') ?? {});
      return directory === undefined ? undefined : join(directory, 'cgroup.procs');
    } catch {
      return undefined;
    }
  }
}
