import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A namespace of a container: a new one, or by path one that exists. */
export interface NamespaceSpec {
  type: 'mount' | 'pid' | 'ipc' | 'uts' | 'network' | 'cgroup' | 'user';
  path?: string;
}

export interface MountSpec {
  destination: string;
  type: string;
  source: string;
  options?: string[];
}

/** The `process` object of an OCI spec, as far as tests set it. */
export interface ProcessSpec {
  args: string[];
  cwd: string;
  env: string[];
  terminal?: boolean;
  user: { uid: number; gid: number };
  capabilities: Record<'bounding' | 'effective' | 'permitted', string[]>;
}

export interface ProcessOptions {
  args: string[];
  /** `NAME=value`. Default: PATH only. */
  env?: string[];
  /** Default '/'. */
  cwd?: string;
  /** Default false. */
  terminal?: boolean;
}

export interface BundleOptions extends ProcessOptions {
  /** The container's id; also the bundle folder's name, as containerd has it. */
  id: string;
  /** An absolute path of a root file system, used read-only; undefined: `rootfs` in the bundle, which mounts of Create fill. */
  rootfs?: string;
  /** Where its cgroup is in each hierarchy, such as `/mark/id`. */
  cgroupsPath: string;
  annotations?: Record<string, string>;
  /** In all of memory and swap. Default: no limit. */
  memoryLimitBytes?: number;
  /** Default: new ones of all types but user and cgroup. */
  namespaces?: NamespaceSpec[];
  /** In addition to /proc, /dev, /dev/pts, /dev/shm, /sys, /tmp and /run. */
  mounts?: MountSpec[];
  hostname?: string;
}

/** The sandbox that a container belongs to, as CRI says it in a spec's annotations. */
export const sandboxIdAnnotation = 'io.kubernetes.cri.sandbox-id';

const searchPath = 'PATH=/usr/sbin:/usr/bin:/sbin:/bin';
const capabilities = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_KILL',
  'CAP_NET_BIND_SERVICE',
  'CAP_SETGID',
  'CAP_SETUID',
];

const standardMounts: MountSpec[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=1777'] },
  { destination: '/run', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'nodev', 'mode=755'] },
];

const ownNamespaces: NamespaceSpec[] = [
  { type: 'mount' },
  { type: 'pid' },
  { type: 'ipc' },
  { type: 'uts' },
  { type: 'network' },
];

/** A process of a container: its init, or what Exec adds. */
export function processSpec({ args, env = [], cwd = '/', terminal = false }: ProcessOptions): ProcessSpec {
  return {
    args,
    cwd,
    env: [searchPath, ...(terminal ? ['TERM=xterm'] : []), ...env],
    terminal,
    user: { uid: 0, gid: 0 },
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
  };
}

/**
 * Makes a bundle folder of the container's name in `folder` and returns its path.
 *
 * @example
 * const bundle = makeBundle(folder, { id: 'one', rootfs, args: ['sleep', '60'], cgroupsPath: `/${mark}/one` });
 */
export function makeBundle(folder: string, options: BundleOptions): string {
  const bundle = join(folder, options.id);
  mkdirSync(join(bundle, 'rootfs'), { recursive: true, mode: 0o711 });
  const { rootfs, cgroupsPath, annotations = {}, memoryLimitBytes, namespaces = ownNamespaces, mounts = [] } = options;
  const root = rootfs === undefined ? { path: 'rootfs', readonly: false } : { path: rootfs, readonly: true };
  const memory = memoryLimitBytes === undefined ? {} : { memory: { limit: memoryLimitBytes, swap: memoryLimitBytes } };
  const spec = {
    ociVersion: '1.0.2',
    process: processSpec(options),
    root,
    ...(options.hostname !== undefined && { hostname: options.hostname }),
    mounts: [...standardMounts, ...mounts],
    annotations,
    linux: {
      cgroupsPath,
      namespaces,
      resources: { devices: [{ allow: false, access: 'rwm' }], ...memory },
    },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return bundle;
}
