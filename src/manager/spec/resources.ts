import { Code, RpcError } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';
import type { HostFacts } from './host.ts';
import { refuse, refuseControlCharacters } from './refusal.ts';

/** `linux.resources` of config.json, as far as CRI sets it. What is absent stays as it is. */
export interface LinuxResources {
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
  memory?: { limit?: number; swap?: number };
  hugepageLimits?: { pageSize: string; limit: number }[];
  /** cgroup v2: file names and what is written to them. */
  unified?: Record<string, string>;
}

const cpuset = /^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$/;
const pageSize = /^[0-9]+(KB|MB|GB)$/;
const lowestPeriod = 1_000n;
const highestPeriod = 1_000_000n;
const lowestOomScore = -1000n;
const highestOomScore = 1000n;

export function checkResources(resources: cri.LinuxContainerResources | undefined, field: string): void {
  if (resources === undefined) return;
  const { cpuPeriod, cpuQuota, cpuShares, memoryLimitInBytes: limit, memorySwapLimitInBytes: swap } = resources;
  if (cpuPeriod !== 0n && (cpuPeriod < lowestPeriod || cpuPeriod > highestPeriod)) {
    refuse(`${field}.cpuPeriod`, `${cpuPeriod} µs is not between ${lowestPeriod} and ${highestPeriod}`);
  }
  if (cpuQuota < -1n) refuse(`${field}.cpuQuota`, `${cpuQuota} is neither a time nor -1 for no limit`);
  if (cpuShares < 0n) refuse(`${field}.cpuShares`, `${cpuShares} is negative`);
  if (limit < -1n) refuse(`${field}.memoryLimitInBytes`, `${limit} is neither a size nor -1 for no limit`);
  if (swap < -1n) refuse(`${field}.memorySwapLimitInBytes`, `${swap} is neither a size nor -1 for no limit`);
  if (swap > 0n && swap < limit) {
    refuse(
      `${field}.memorySwapLimitInBytes`,
      `${swap} counts memory and swap, so it cannot be below the memory limit ${limit}`,
    );
  }
  const { oomScoreAdj, cpusetCpus, cpusetMems, hugepageLimits, unified } = resources;
  if (oomScoreAdj < lowestOomScore || oomScoreAdj > highestOomScore) {
    refuse(`${field}.oomScoreAdj`, `${oomScoreAdj} is not between ${lowestOomScore} and ${highestOomScore}`);
  }
  if (cpusetCpus !== '' && !cpuset.test(cpusetCpus))
    refuse(`${field}.cpusetCpus`, `"${cpusetCpus}" is no list like "0-2,4"`);
  if (cpusetMems !== '' && !cpuset.test(cpusetMems))
    refuse(`${field}.cpusetMems`, `"${cpusetMems}" is no list like "0-2,4"`);
  for (const [index, { pageSize: size }] of hugepageLimits.entries()) {
    if (!pageSize.test(size)) refuse(`${field}.hugepageLimits[${index}].pageSize`, `"${size}" is no size like "2MB"`);
  }
  for (const [name, value] of Object.entries(unified)) {
    const at = `${field}.unified[${JSON.stringify(name)}]`;
    if (!/^[a-z0-9_]+(\.[A-Za-z0-9_-]+)+$/.test(name)) refuse(at, 'is no name of a cgroup file');
    // Some files take several lines; they are written as they are.
    refuseControlCharacters(at, value.replaceAll('\n', ''));
  }
}

/**
 * CRI's resources as OCI has them, for a new container and for an update of one. A limit of memory is one of memory and
 * swap together, unless the request says otherwise, so that no container swaps by default. Where the host cannot limit
 * swap, that is left out; huge pages likewise, since kubelet always sends their limits.
 * @throws {RpcError} INVALID_ARGUMENT for values that make no sense, FAILED_PRECONDITION for `unified` on cgroup v1
 */
export function updateResources(
  resources: cri.LinuxContainerResources,
  host: Pick<HostFacts, 'cgroup'>,
): LinuxResources {
  const field = 'linux';
  checkResources(resources, field);
  const { cpuPeriod, cpuQuota, cpuShares, cpusetCpus, cpusetMems, memoryLimitInBytes, hugepageLimits } = resources;
  const swap = resources.memorySwapLimitInBytes === 0n ? memoryLimitInBytes : resources.memorySwapLimitInBytes;
  const cpu = {
    ...(cpuShares !== 0n && { shares: toNumber(cpuShares) }),
    ...(cpuQuota !== 0n && { quota: toNumber(cpuQuota) }),
    ...(cpuPeriod !== 0n && { period: toNumber(cpuPeriod) }),
    ...(cpusetCpus !== '' && { cpus: cpusetCpus }),
    ...(cpusetMems !== '' && { mems: cpusetMems }),
  };
  const memory = {
    ...(memoryLimitInBytes !== 0n && { limit: toNumber(memoryLimitInBytes) }),
    ...(swap !== 0n && host.cgroup.swap && { swap: toNumber(swap) }),
  };
  const hasUnified = Object.keys(resources.unified).length > 0;
  if (hasUnified && host.cgroup.version === 1) {
    throw new RpcError(
      Code.FailedPrecondition,
      `${field}.unified: names files of cgroup v2, and this host has cgroup v1`,
    );
  }
  return {
    ...(Object.keys(cpu).length > 0 && { cpu }),
    ...(Object.keys(memory).length > 0 && { memory }),
    ...(host.cgroup.hugetlb &&
      hugepageLimits.length > 0 && {
        hugepageLimits: hugepageLimits.map(({ pageSize: size, limit }) => ({ pageSize: size, limit: toNumber(limit) })),
      }),
    ...(hasUnified && { unified: { ...resources.unified } }),
  };
}

/** What of the resources the host cannot give, for the log. */
export function resourceWarnings(
  resources: cri.LinuxContainerResources | undefined,
  host: Pick<HostFacts, 'cgroup'>,
): string[] {
  const limited = resources?.hugepageLimits.some(({ limit }) => limit > 0n) === true;
  return [
    ...(limited && !host.cgroup.hugetlb
      ? ['limits of huge pages are ignored: there is no hugetlb cgroup controller']
      : []),
    ...((resources?.memorySwapLimitInBytes ?? 0n) !== 0n && !host.cgroup.swap
      ? ['the limit of swap is ignored: this kernel does not count swap in cgroups']
      : []),
  ];
}

/**
 * `process.oomScoreAdj`: what was asked for, or the nearest that this process may give (lower than its own takes
 * CAP_SYS_RESOURCE); undefined leaves the runtime's.
 */
export function oomScoreAdj(
  resources: cri.LinuxContainerResources | undefined,
  host: Pick<HostFacts, 'oomScoreAdjMinimum'>,
): number | undefined {
  return resources === undefined ? undefined : Math.max(Number(resources.oomScoreAdj), host.oomScoreAdjMinimum);
}

/** config.json's numbers are exact up to 2^53; a limit beyond that is none on any machine. */
function toNumber(value: bigint): number {
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}
