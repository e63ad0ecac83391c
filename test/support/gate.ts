import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BerthdBed } from './berthd-bed.ts';
import type { ContainerOptions } from './cri-caller.ts';

export interface Gate {
  /** For the container that is to wait. */
  mounts: NonNullable<ContainerOptions['mounts']>;
  open: () => void;
}

/** What a container waits at until the test goes on with it, whether berthd is there or not: a folder of the host, its /gate. */
export function newGate(bed: BerthdBed, name: string): Gate {
  const hostPath = bed.path(`gate-of-${name}`);
  mkdirSync(hostPath);
  return { mounts: [{ hostPath, containerPath: '/gate' }], open: () => writeFileSync(join(hostPath, 'open'), '') };
}

const untilOpen = (meanwhile: string) => `until [ -e /gate/open ]; do ${meanwhile}; done`;

/** Does something when its gate is open. */
export const gated = (command: string) => ['sh', '-c', `${untilOpen('sleep 0.02')}; ${command}`];

/** Counts until its gate is open, and says its last number twice: a log that lacks its end shows. */
export const counting = ['sh', '-c', `n=0; ${untilOpen('n=$((n+1)); echo $n; sleep 0.005')}; echo $n`];

export const countedTo = (last: number) => [...Array.from({ length: last }, (_, n) => n + 1), last];
