import { failure, type Finding, ok, warning } from './finding.ts';
import type { Host } from './host.ts';

/** openat2, pidfd and clone3 are there from this version on. */
const needed = [5, 6] as const;
/** Recursive read-only mounts are there from this version on. */
const wanted = [5, 12] as const;

const namespaces = ['net', 'ipc', 'uts', 'pid', 'mnt', 'cgroup'];

/** Version, namespaces and rights. */
export async function checkKernel(host: Host): Promise<Finding[]> {
  return [await version(host), await rights(host)];
}

async function version(host: Host): Promise<Finding> {
  const what = 'kernel';
  const parts = /^(\d+)\.(\d+)/.exec(host.kernel);
  const running = [Number(parts?.[1]), Number(parts?.[2])] as const;
  if (isBefore(running, needed)) {
    return failure(
      what,
      `Linux ${host.kernel} is older than ${needed.join('.')}`,
      'install a newer kernel and boot it',
    );
  }
  const there = (await host.list('/proc/self/ns')) ?? [];
  const missing = namespaces.filter((name) => !there.includes(name));
  if (missing.length > 0) {
    return failure(what, `Linux ${host.kernel} has no ${missing.join(', ')} namespaces`, 'boot a kernel that has them');
  }
  if (isBefore(running, wanted)) {
    return warning(what, `Linux ${host.kernel} has no recursive read-only mounts (${wanted.join('.')} has)`);
  }
  return ok(what, `Linux ${host.kernel}`);
}

function isBefore([major, minor]: readonly [number, number], other: readonly [number, number]): boolean {
  return major < other[0] || (major === other[0] && minor < other[1]);
}

const sysAdmin = 21n;

async function rights(host: Host): Promise<Finding> {
  const what = 'root';
  if (host.uid !== 0)
    return failure(
      what,
      'you are not root; berthd must be, and so must you to see all of this',
      'sudo berthctl doctor',
    );
  const bits = /^CapEff:\s*([0-9a-f]+)$/m.exec((await host.read('/proc/self/status')) ?? '')?.[1];
  if (bits !== undefined && (BigInt(`0x${bits}`) & (1n << sysAdmin)) === 0n) {
    return failure(
      what,
      'root here has no CAP_SYS_ADMIN: this is a container without rights',
      'run it with --privileged',
    );
  }
  return ok(what, 'you are root');
}
