import { readMountInfo } from '../../linux/index.ts';
import type { Mount } from '../../oci/index.ts';
import { cri } from '../../wire/index.ts';
import { containerPathOf, hostMounts, type Propagation } from './host-mounts.ts';
import type { HostFacts } from './host.ts';
import type { SpecInput } from './input.ts';
import { hasCgroupNamespace, podNamespaces } from './namespaces.ts';

const cgroupFolder = '/sys/fs/cgroup';
const sharedMemory = '/dev/shm';

/**
 * All mounts of a container in the order in which they are made: the kernel's file systems first, then the request's
 * and what the pod adds, outer folders before those in them. A mount of the request takes the place of any other at its
 * path, and a /dev of its own that of all below.
 */
export async function mounts(
  input: SpecInput,
): Promise<{ mounts: Mount[]; rootfsPropagation: Propagation | undefined }> {
  const { container, host } = input;
  const { mounts: requested, rootfsPropagation } = await hostMounts(container.config.mounts, host);
  const taken = new Set(requested.map(({ destination }) => destination));
  const added = addedMounts(input).filter(({ destination }) => !taken.has(destination));
  const own = [...requested, ...added].sort((a, b) => depth(a) - depth(b));
  for (const { destination } of added) taken.add(destination);
  const kernel = kernelMounts(container.config.linux?.securityContext, host).filter(
    ({ destination }) => !taken.has(destination) && !(taken.has('/dev') && destination.startsWith('/dev/')),
  );
  return { mounts: [...kernel, ...own], rootfsPropagation };
}

function depth({ destination }: Mount): number {
  return destination.split('/').length;
}

/** /proc, /dev, /sys and what belongs to them. A privileged container may write to /sys. */
function kernelMounts(
  security: cri.LinuxContainerSecurityContext | undefined,
  host: Pick<HostFacts, 'cgroup'>,
): Mount[] {
  const access = security?.privileged === true ? 'rw' : 'ro';
  return [
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
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
    { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', access] },
    {
      destination: cgroupFolder,
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', access, ...sharedCgroupOptions(security, host)],
    },
  ];
}

/** Without a cgroup namespace a mount of cgroup2 changes the host's own, which must keep its options. */
function sharedCgroupOptions(
  security: cri.LinuxContainerSecurityContext | undefined,
  host: Pick<HostFacts, 'cgroup'>,
): string[] {
  if (host.cgroup.version === 1 || hasCgroupNamespace(security, host)) return [];
  const mount = readMountInfo().findLast(({ path, type }) => path === cgroupFolder && type === 'cgroup2');
  return ['nsdelegate', 'memory_recursiveprot'].filter((option) => mount?.superOptions.includes(option) === true);
}

/**
 * What every container has without asking: files of the pod, its shared memory, and folders for the image's volumes.
 */
function addedMounts({ sandbox, container }: SpecInput): Mount[] {
  const access = container.config.linux?.securityContext?.readonlyRootfs === true ? 'ro' : 'rw';
  const files = [
    bind(sandbox.hostnamePath, '/etc/hostname', access),
    bind(sandbox.hostsPath, '/etc/hosts', access),
    bind(sandbox.resolvConfPath, '/etc/resolv.conf', access),
  ].filter(({ source }) => source !== '');
  const added = [...files, sharedMemoryOf(sandbox.config)];
  const volumes = container.volumes
    .map((volume) => bind(volume.hostPath, containerPathOf(volume), 'rw'))
    .filter(({ destination }) => !added.some((mount) => mount.destination === destination));
  return [...added, ...volumes];
}

function bind(source: string, destination: string, access: 'ro' | 'rw'): Mount {
  return { destination, type: 'bind', source, options: ['rbind', 'rprivate', access] };
}

/** The host's where IPC is the host's. Else a new one, in whose place the shim puts the pod's. */
function sharedMemoryOf(config: cri.PodSandboxConfig): Mount {
  if (podNamespaces(config).ipc === cri.NamespaceMode.NODE) return bind(sharedMemory, sharedMemory, 'rw');
  const options = ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'];
  return { destination: sharedMemory, type: 'tmpfs', source: 'shm', options };
}
