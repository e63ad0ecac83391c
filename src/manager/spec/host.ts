import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname, release } from 'node:os';
import { join } from 'node:path';
import { type CgroupLayout, cgroupsOfProcess, detectCgroupLayout } from '../../linux/index.ts';
import { capabilityNames } from './capability-names.ts';

const debianSeccompProfile = '/usr/share/containers/seccomp.json';

/** What the host offers to containers. */
export interface HostFacts {
  readonly cgroup: {
    readonly version: 1 | 2;
    readonly driver: 'cgroupfs' | 'systemd';
    /** Swap can be limited. */
    readonly swap: boolean;
    readonly hugetlb: boolean;
  };
  /** As in image configurations: "amd64", "arm64", … */
  readonly architecture: string;
  readonly kernel: { readonly major: number; readonly minor: number };
  readonly hostname: string;
  readonly seccomp: boolean;
  /** The file of the runtime/default seccomp profile. */
  readonly seccompProfile: string;
  readonly apparmor: boolean;
  readonly selinux: boolean;
  /** Those that this process may give to a container, as "CAP_CHOWN". */
  readonly capabilities: readonly string[];
  /** The lowest oom_score_adj that this process may give. */
  readonly oomScoreAdjMinimum: number;
  /** Mounts can be made read-only with all that is mounted below them (mount_setattr(2)). */
  readonly recursiveReadOnly: boolean;
}

export interface HostOptions {
  /** Default '': systemd where it is the init and cgroups are v2, else cgroupfs. */
  readonly cgroupDriver?: '' | 'cgroupfs' | 'systemd';
  /** Default '': the file of Debian's golang-github-containers-common. */
  readonly seccompProfile?: string;
}

/** Looks at this machine and this process; what it finds stays true while the process runs. */
export function detectHost({ cgroupDriver = '', seccompProfile = '' }: HostOptions = {}): HostFacts {
  const layout = detectCgroupLayout();
  const version = layout.mode === 'v2' ? 2 : 1;
  const capabilities = givableCapabilities(readFileSync('/proc/self/status', 'utf8'));
  const kernel = kernelVersion(release());
  return {
    cgroup: {
      version,
      driver: cgroupDriver === '' ? usualDriver(version) : cgroupDriver,
      swap: version === 2 ? hasUnifiedFile(layout, 'memory.swap.max') : hasMemswLimit(layout),
      hugetlb: version === 2 ? unifiedControllers(layout).includes('hugetlb') : layout.hierarchies.has('hugetlb'),
    },
    architecture: imageArchitecture(process.arch),
    kernel,
    hostname: hostname(),
    seccomp: existsSync('/proc/sys/kernel/seccomp/actions_avail'),
    seccompProfile: seccompProfile === '' ? debianSeccompProfile : seccompProfile,
    apparmor: readText('/sys/module/apparmor/parameters/enabled').startsWith('Y'),
    selinux: existsSync('/sys/fs/selinux/enforce'),
    capabilities,
    oomScoreAdjMinimum: capabilities.includes('CAP_SYS_RESOURCE')
      ? -1000
      : Number(readText('/proc/self/oom_score_adj')),
    recursiveReadOnly: isKernelAtLeast(kernel, 5, 12),
  };
}

function usualDriver(version: 1 | 2): 'cgroupfs' | 'systemd' {
  return version === 2 && existsSync('/run/systemd/system') ? 'systemd' : 'cgroupfs';
}

export function isKernelAtLeast(kernel: HostFacts['kernel'], major: number, minor: number): boolean {
  return kernel.major > major || (kernel.major === major && kernel.minor >= minor);
}

/** From the text of /proc/PID/status. */
export function givableCapabilities(status: string): string[] {
  const [permitted, bounding] = ['CapPrm', 'CapBnd'].map((name) => {
    const digits = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, 'm').exec(status)?.[1];
    return BigInt(`0x${digits ?? '0'}`);
  });
  const givable = (permitted ?? 0n) & (bounding ?? 0n);
  return capabilityNames.filter((_, bit) => ((givable >> BigInt(bit)) & 1n) === 1n);
}

/** The name that images use for what Node calls `arch`. */
export function imageArchitecture(arch: string): string {
  const names: Record<string, string> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
  return names[arch] ?? arch;
}

function kernelVersion(text: string): HostFacts['kernel'] {
  const [, major, minor] = /^([0-9]+)\.([0-9]+)/.exec(text) ?? [];
  return { major: Number(major ?? 0), minor: Number(minor ?? 0) };
}

function hasMemswLimit({ hierarchies }: CgroupLayout): boolean {
  const memory = hierarchies.get('memory');
  return memory !== undefined && existsSync(join(memory.mountPoint, 'memory.memsw.limit_in_bytes'));
}

function unifiedControllers({ hierarchies }: CgroupLayout): string[] {
  const unified = hierarchies.get('');
  return unified === undefined ? [] : readText(join(unified.mountPoint, 'cgroup.controllers')).trim().split(' ');
}

/**
 * The root cgroup lacks most files: this process's own cgroup has them, or, where that is the root, those right below
 * it.
 */
function hasUnifiedFile(layout: CgroupLayout, name: string): boolean {
  const unified = layout.hierarchies.get('');
  if (unified === undefined) return false;
  const own = cgroupsOfProcess(layout, 'self')?.[''];
  if (own !== undefined && existsSync(join(own, name))) return true;
  return readdirSync(unified.mountPoint, { withFileTypes: true }).some(
    (entry) => entry.isDirectory() && existsSync(join(unified.mountPoint, entry.name, name)),
  );
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
