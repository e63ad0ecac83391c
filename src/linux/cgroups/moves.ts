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
    this.#layout ??= detectCgroupLayout();
    // Where it is now: whoever manages us may have moved us.
    const [directory] = Object.values(cgroupsOfProcess(this.#layout, 'self') ?? {});
    if (directory === undefined) return;
    this.#isUnderWay = true;
    writeFile(join(directory, 'cgroup.procs'), String(process.pid), () => (this.#isUnderWay = false));
  }
}
