import { basename, dirname } from 'node:path';
import type { CgroupDirectories } from '../../linux/index.ts';
import type { ContainerRecord } from '../pods/index.ts';

/**
 * The cgroups of a pod, told from those of a container in it: kubelet makes one for the pod, and each container's is right under it.
 * Undefined for a pod that was given none, or that has no container to tell it from.
 */
export function podCgroups(
  cgroupParent: string,
  containers: readonly Pick<ContainerRecord, 'cgroups'>[],
): CgroupDirectories | undefined {
  const name = basename(cgroupParent);
  const [container] = containers;
  if (name === '' || container === undefined) return undefined;
  const parents = Object.entries(container.cgroups).map(([controller, path]) => [controller, dirname(path)] as const);
  return parents.length > 0 && parents.every(([, path]) => basename(path) === name)
    ? Object.fromEntries(parents)
    : undefined;
}
