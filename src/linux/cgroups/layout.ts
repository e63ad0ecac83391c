import { readFileSync } from 'node:fs';
import { isSystemError } from '../errors.ts';
import { readMountInfo } from '../mounts.ts';
import type { MountPoint } from '../mounts.ts';

/** Where the cgroup hierarchies of this mount namespace are. */
export interface CgroupLayout {
  /** `v2`: only the unified hierarchy; `v1`: only those of single controllers; `hybrid`: both, controllers in v1. */
  mode: 'v1' | 'v2' | 'hybrid' | 'none';
  /** By controller (`memory`, `name=systemd`); the unified hierarchy under `''`. */
  hierarchies: ReadonlyMap<string, CgroupHierarchy>;
}

export interface CgroupHierarchy {
  /** Where it is mounted. */
  mountPoint: string;
  /** The cgroup that is mounted there: `/` but in containers. */
  root: string;
}

/** One line of /proc/PID/cgroup. */
export interface CgroupMembership {
  /** `['']` for the unified hierarchy. */
  controllers: string[];
  path: string;
}

const unified = '';
const mountOptions = /^(rw|ro|xattr|noprefix|clone_children|cpuset_v2_mode|all|none|release_agent=.*)$/;

/** Tells the layout from the mounts; where one hierarchy is mounted twice the first counts. */
export function cgroupLayout(mounts: MountPoint[]): CgroupLayout {
  const hierarchies = new Map<string, CgroupHierarchy>();
  for (const { type, path, root, superOptions } of mounts) {
    const hierarchy = { mountPoint: path, root };
    const controllers =
      type === 'cgroup2'
        ? [unified]
        : type === 'cgroup'
          ? superOptions.filter((option) => !mountOptions.test(option))
          : [];
    for (const controller of controllers) {
      if (!hierarchies.has(controller)) hierarchies.set(controller, hierarchy);
    }
  }
  const hasUnified = hierarchies.has(unified);
  const hasControllers = [...hierarchies.keys()].some((name) => name !== unified && !name.startsWith('name='));
  const mode = hasUnified ? (hasControllers ? 'hybrid' : 'v2') : hasControllers ? 'v1' : 'none';
  return { mode, hierarchies };
}

export function detectCgroupLayout(): CgroupLayout {
  return cgroupLayout(readMountInfo());
}

/** Reads the content of /proc/PID/cgroup (cgroups(7)). */
export function parseCgroupMemberships(text: string): CgroupMembership[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [, controllers, path] = /^[0-9]+:([^:]*):(\/.*)$/.exec(line) ?? [];
      if (controllers === undefined || path === undefined) {
        throw new SyntaxError(`not a line of /proc/PID/cgroup: ${JSON.stringify(line)}`);
      }
      return { controllers: controllers.split(','), path: path.replace(/ \(deleted\)$/, '') };
    });
}

/** The directories of cgroups, by controller; `''` is the unified hierarchy. */
export type CgroupDirectories = Record<string, string>;

/** Where the memberships are on this machine. Hierarchies that are not mounted here are left out. */
export function cgroupDirectories(layout: CgroupLayout, memberships: CgroupMembership[]): CgroupDirectories {
  const directories: CgroupDirectories = {};
  for (const { controllers, path } of memberships) {
    for (const controller of controllers) {
      const hierarchy = layout.hierarchies.get(controller);
      if (hierarchy !== undefined) directories[controller] = directoryOf(hierarchy, path);
    }
  }
  return directories;
}

function directoryOf({ mountPoint, root }: CgroupHierarchy, path: string): string {
  const inside = root !== '/' && (path === root || path.startsWith(`${root}/`)) ? path.slice(root.length) : path;
  return inside === '' || inside === '/' ? mountPoint : mountPoint + inside;
}

/** The directories of a process's cgroups; undefined when there is no such process. */
export function cgroupsOfProcess(layout: CgroupLayout, pid: number | 'self'): CgroupDirectories | undefined {
  try {
    return cgroupDirectories(layout, parseCgroupMemberships(readFileSync(`/proc/${pid}/cgroup`, 'utf8')));
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ESRCH')) return undefined;
    throw error;
  }
}

/**
 * The directories of the cgroups that are a container's own, told from one of its processes: those that it shares with this process,
 * and the roots, are not. None when there is no such process.
 */
export function containerCgroups(pid: number): CgroupDirectories {
  const layout = detectCgroupLayout();
  const shared = cgroupsOfProcess(layout, 'self') ?? {};
  const own = Object.entries(cgroupsOfProcess(layout, pid) ?? {}).filter(
    ([controller, directory]) =>
      directory !== shared[controller] && directory !== layout.hierarchies.get(controller)?.mountPoint,
  );
  return Object.fromEntries(own);
}
