import { dirname } from 'node:path';
import { humanSize } from '../output/units.ts';
import { failure, type Finding, ok, warning } from './finding.ts';
import type { FilesystemFacts, Host } from './host.ts';

const overlayMagic = 0x794c7630;
const nfsMagic = 0x6969;
const leastBytes = 200e6;
const fewBytes = 2e9;
const fewShare = 0.05;

/** Where berthd keeps things. */
export interface StatePlaces {
  readonly root: string;
  readonly state: string;
  readonly socket: string;
}

export async function checkStorage(host: Host, places: StatePlaces): Promise<Finding[]> {
  return [await overlay(host, places), await disk(host, places), ...(await permissions(host, places))];
}

async function overlay(host: Host, { root }: StatePlaces): Promise<Finding> {
  const what = 'overlayfs';
  const known = (await host.read('/proc/filesystems')) ?? '';
  if (!/\boverlay$/m.test(known)) {
    const module = await host.run('modprobe', ['-n', 'overlay']);
    if (module instanceof Error) return failure(what, 'the kernel has no overlayfs', 'boot a kernel that has it');
    return warning(
      what,
      'overlayfs is not loaded yet',
      'modprobe overlay && echo overlay > /etc/modules-load.d/overlay.conf',
    );
  }
  const { type } = (await nearest(host, root)) ?? {};
  if (type === overlayMagic || type === nfsMagic) {
    const name = type === nfsMagic ? 'NFS' : 'an overlayfs itself';
    return failure(
      what,
      `${root} is on ${name}, on which containers cannot have their files`,
      `mount ext4, xfs or a tmpfs at ${root}`,
    );
  }
  return ok(what, 'the kernel has it');
}

/** The filesystem of a path, or of the nearest folder above it that is there. */
async function nearest(host: Host, path: string): Promise<FilesystemFacts | undefined> {
  for (let at = path; ; at = dirname(at)) {
    const facts = await host.filesystem(at);
    if (facts !== undefined || at === '/') return facts;
  }
}

async function disk(host: Host, { root }: StatePlaces): Promise<Finding> {
  const what = 'disk';
  const facts = await nearest(host, root);
  if (facts === undefined) return warning(what, `cannot tell how much room there is for ${root}`);
  const free = `${humanSize(facts.freeBytes, 3)} free of ${humanSize(facts.totalBytes, 3)} for ${root}`;
  if (facts.freeBytes < leastBytes) return failure(what, free, 'berthctl rmi --prune, or a larger disk');
  if (facts.totalInodes > 0 && facts.freeInodes / facts.totalInodes < fewShare) {
    return warning(what, `${free}, and only ${facts.freeInodes} inodes`, 'berthctl rmi --prune');
  }
  if (facts.freeBytes < fewBytes || facts.freeBytes / facts.totalBytes < fewShare) {
    return warning(what, free, 'berthctl rmi --prune');
  }
  return ok(what, free);
}

const othersWrite = 0o002;
const othersAny = 0o007;

async function permissions(host: Host, { root, state, socket }: StatePlaces): Promise<Finding[]> {
  const what = 'permissions';
  const findings: Finding[] = [];
  for (const folder of [root, state]) {
    const facts = await host.facts(folder);
    if (facts === undefined) continue;
    if (facts.uid !== 0)
      findings.push(failure(what, `${folder} belongs to user ${facts.uid}, not root`, `chown root:root ${folder}`));
    if ((facts.mode & othersWrite) !== 0)
      findings.push(failure(what, `anybody may write to ${folder}`, `chmod o-w ${folder}`));
  }
  const facts = await host.facts(socket);
  if (facts !== undefined && (facts.mode & othersAny) !== 0) {
    findings.push(failure(what, `anybody may use ${socket}, which is as good as being root`, `chmod 660 ${socket}`));
  }
  return findings.length > 0 ? findings : [ok(what, "folders and socket are root's alone")];
}
