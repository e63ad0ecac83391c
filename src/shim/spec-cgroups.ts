import { existsSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { detectCgroupLayout, type CgroupDirectories } from '../linux/index.ts';
import type { Spec } from '../oci/index.ts';

/**
 * The cgroups that a runtime makes for a container by its configuration, those that are there: under `cgroupsPath`, or its id where
 * it names none. Paths in systemd's form (`slice:prefix:name`) are systemd's to clean up.
 */
export function specCgroups(spec: Spec, id: string): CgroupDirectories {
  const path = spec.linux?.cgroupsPath ?? `/${id}`;
  const directories: CgroupDirectories = {};
  if (path.includes(':') || normalize(`/${path}`) === '/') return directories;
  for (const [controller, { mountPoint }] of detectCgroupLayout().hierarchies) {
    const directory = join(mountPoint, normalize(`/${path}`));
    if (existsSync(directory)) directories[controller] = directory;
  }
  return directories;
}
