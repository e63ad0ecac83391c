import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';

/** The variable that marks every process of a test. The shim passes its own variables (BERTH_*) to nobody; it passes this one on. */
export const markVariable = 'TEST_BED_MARK';

/**
 * What is a test's own: a name that occurs nowhere else on the machine and a folder of that name. The name is also the containerd
 * namespace, hence part of every cgroup; the folder holds all roots and states, hence is part of every mount.
 */
export interface Scratch {
  mark: string;
  /** Short, since the paths of sockets below it are bounded. */
  folder: string;
}

export function newScratch(): Scratch {
  const mark = `berth-${randomBytes(4).toString('hex')}`;
  const folder = `/tmp/${mark}`;
  mkdirSync(folder, { mode: 0o711 });
  return { mark, folder };
}
