import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { type OciRuntime, shimBinary } from '../support/paths.ts';

/** A shim with an OCI runtime. */
export interface Contestant {
  /** For `--shims` and the table's head. */
  name: string;
  shim: string;
  runtime: OciRuntime;
}

export const debianShim = '/usr/bin/containerd-shim-runc-v2';

const known: Contestant[] = [
  { name: 'containerd+runc', shim: debianShim, runtime: 'runc' },
  { name: 'berth+runc', shim: shimBinary, runtime: 'runc' },
  { name: 'berth+crun', shim: shimBinary, runtime: 'crun' },
];

export const knownNames = known.map(({ name }) => name);

/** The one that others are compared with, and the one of ours that is compared: the same OCI runtime under both. */
export const reference = 'containerd+runc';
export const compared = 'berth+runc';

/** Contestants by name. A path of a shim is one too, with runc. */
export function chooseContestants(names: readonly string[]): Contestant[] {
  return names.map((name) => {
    const contestant = name.includes('/')
      ? { name: basename(name), shim: name, runtime: 'runc' as const }
      : known.find((one) => one.name === name);
    if (!contestant)
      throw new Error(`no contestant "${name}": there are ${knownNames.join(', ')}, or give a shim's path`);
    if (!existsSync(contestant.shim))
      throw new Error(`${contestant.shim} is not there: run "npm run build", or leave ${name} out`);
    return contestant;
  });
}
