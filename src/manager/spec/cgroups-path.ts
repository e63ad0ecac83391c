import { posix } from 'node:path';
import type { cri } from '../../wire/index.ts';
import type { HostFacts } from './host.ts';
import { refuse, refuseControlCharacters } from './refusal.ts';

const field = 'config.linux.cgroupParent';
/** What systemd's units of containers are called after. */
const unitPrefix = 'cri-berth';
/** Where containers of pods without a parent are, with cgroupfs. */
const ownParent = '/berth';
/** Likewise with systemd: as runc and crun choose. */
const ownSlice = 'system.slice';

/** @throws {RpcError} INVALID_ARGUMENT for a parent that is no place in the cgroup tree */
export function checkCgroupParent(config: cri.PodSandboxConfig): void {
  const parent = config.linux?.cgroupParent ?? '';
  refuseControlCharacters(field, parent);
  if (parent.split('/').includes('..')) refuse(field, `"${parent}" leads upwards`);
}

/**
 * `linux.cgroupsPath` of a container, or of a pod's own processes: PARENT/ID with cgroupfs, SLICE:cri-berth:ID with
 * systemd, where the last part of the parent is the slice.
 * @throws {RpcError} INVALID_ARGUMENT for a parent that is for the other driver: then kubelet and berthd are configured
 * differently
 */
export function cgroupsPath(config: cri.PodSandboxConfig, id: string, host: Pick<HostFacts, 'cgroup'>): string {
  checkCgroupParent(config);
  const parent = config.linux?.cgroupParent ?? '';
  const slice = posix.basename(parent);
  const isSlice = slice.endsWith('.slice');
  if (host.cgroup.driver === 'systemd') {
    if (parent !== '' && !isSlice)
      refuse(field, `"${parent}" is no slice, and berthd's cgroup driver is systemd: ${advice}`);
    return `${parent === '' ? ownSlice : slice}:${unitPrefix}:${id}`;
  }
  if (isSlice) refuse(field, `"${parent}" is a slice of systemd, and berthd's cgroup driver is cgroupfs: ${advice}`);
  return posix.join('/', parent === '' ? ownParent : parent, id);
}

const advice = 'give kubelet and berthd the same one (cgroupDriver; cgroups.driver)';
