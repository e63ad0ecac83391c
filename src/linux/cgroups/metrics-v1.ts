import { parseCount, parseKeyed } from './files.ts';
import type { ReadCgroupFile } from './files.ts';
import { parseRdma } from './rdma.ts';
import type { RdmaStat } from './rdma.ts';

/**
 * What cgroup v1 tells of a container; named as the fields of io.containerd.cgroups.v1.Metrics. A controller that is not there is
 * undefined. Times in nanoseconds, memory in bytes.
 */
export interface CgroupMetricsV1 {
  hugetlb: HugetlbStatV1[];
  pids?: { current: bigint; limit: bigint };
  cpu?: { usage: CpuUsageV1; throttling: { periods: bigint; throttledPeriods: bigint; throttledTime: bigint } };
  memory?: MemoryStatV1;
  blkio?: BlkioStatV1;
  rdma?: RdmaStat;
  memoryOomControl?: { oomKillDisable: bigint; underOom: bigint; oomKill: bigint };
}

export interface HugetlbStatV1 {
  pagesize: string;
  usage: bigint;
  max: bigint;
  failcnt: bigint;
}

export interface CpuUsageV1 {
  total: bigint;
  kernel: bigint;
  user: bigint;
  perCpu: bigint[];
}

export interface MemoryEntryV1 {
  limit: bigint;
  usage: bigint;
  max: bigint;
  failcnt: bigint;
}

const memoryCounters = {
  cache: 'cache',
  rss: 'rss',
  rssHuge: 'rss_huge',
  mappedFile: 'mapped_file',
  dirty: 'dirty',
  writeback: 'writeback',
  pgPgIn: 'pgpgin',
  pgPgOut: 'pgpgout',
  pgFault: 'pgfault',
  pgMajFault: 'pgmajfault',
  inactiveAnon: 'inactive_anon',
  activeAnon: 'active_anon',
  inactiveFile: 'inactive_file',
  activeFile: 'active_file',
  unevictable: 'unevictable',
  hierarchicalMemoryLimit: 'hierarchical_memory_limit',
  hierarchicalSwapLimit: 'hierarchical_memsw_limit',
  totalCache: 'total_cache',
  totalRss: 'total_rss',
  totalRssHuge: 'total_rss_huge',
  totalMappedFile: 'total_mapped_file',
  totalDirty: 'total_dirty',
  totalWriteback: 'total_writeback',
  totalPgPgIn: 'total_pgpgin',
  totalPgPgOut: 'total_pgpgout',
  totalPgFault: 'total_pgfault',
  totalPgMajFault: 'total_pgmajfault',
  totalInactiveAnon: 'total_inactive_anon',
  totalActiveAnon: 'total_active_anon',
  totalInactiveFile: 'total_inactive_file',
  totalActiveFile: 'total_active_file',
  totalUnevictable: 'total_unevictable',
} as const;

export type MemoryStatV1 = Record<keyof typeof memoryCounters, bigint> &
  Record<'usage' | 'swap' | 'kernel' | 'kernelTcp', MemoryEntryV1>;

export interface BlkioEntryV1 {
  op: string;
  /** Path of the device's node, '' when it is not known. */
  device: string;
  major: bigint;
  minor: bigint;
  value: bigint;
}

export type BlkioStatV1 = Record<keyof typeof blkioFiles, BlkioEntryV1[]>;

/** In the order in which they are tried: of the CFQ scheduler, of BFQ, and what throttling counts under every scheduler. */
const blkioFiles = {
  ioServiceBytesRecursive: [
    'io_service_bytes_recursive',
    'bfq.io_service_bytes_recursive',
    'throttle.io_service_bytes_recursive',
  ],
  ioServicedRecursive: ['io_serviced_recursive', 'bfq.io_serviced_recursive', 'throttle.io_serviced_recursive'],
  ioQueuedRecursive: ['io_queued_recursive', 'bfq.io_queued_recursive'],
  ioServiceTimeRecursive: ['io_service_time_recursive', 'bfq.io_service_time_recursive'],
  ioWaitTimeRecursive: ['io_wait_time_recursive', 'bfq.io_wait_time_recursive'],
  ioMergedRecursive: ['io_merged_recursive', 'bfq.io_merged_recursive'],
  ioTimeRecursive: ['time_recursive', 'bfq.time_recursive'],
  sectorsRecursive: ['sectors_recursive', 'bfq.sectors_recursive'],
} as const;

/** cpuacct.stat counts in units of USER_HZ, which is 100 on every architecture. */
const nanosecondsPerTick = 10_000_000n;

/** `partitions`: the content of /proc/partitions, for the devices' names; `pagesizes`: names as `2MB`. */
export function cgroupMetricsV1(read: ReadCgroupFile, partitions: string, pagesizes: string[]): CgroupMetricsV1 {
  const metrics: CgroupMetricsV1 = { hugetlb: pagesizes.flatMap((pagesize) => hugetlb(read, pagesize)) };
  const pids = read('pids', 'pids.current');
  if (pids !== undefined) metrics.pids = { current: parseCount(pids), limit: pidsLimit(read('pids', 'pids.max')) };
  const cpu = cpuStat(read);
  if (cpu !== undefined) metrics.cpu = cpu;
  const memory = read('memory', 'memory.stat');
  if (memory !== undefined) metrics.memory = memoryStat(read, memory);
  const oom = read('memory', 'memory.oom_control');
  if (oom !== undefined) metrics.memoryOomControl = oomControl(oom);
  const blkio = blkioStat(read, deviceNames(partitions));
  if (blkio !== undefined) metrics.blkio = blkio;
  const rdma = parseRdma(read('rdma', 'rdma.current'), read('rdma', 'rdma.max'));
  if (rdma !== undefined) metrics.rdma = rdma;
  return metrics;
}

/** No limit is 0 here, as containerd's readers of v1 have it. */
function pidsLimit(text: string | undefined): bigint {
  return text?.trim() === 'max' ? 0n : parseCount(text);
}

function hugetlb(read: ReadCgroupFile, pagesize: string): HugetlbStatV1[] {
  const usage = read('hugetlb', `hugetlb.${pagesize}.usage_in_bytes`);
  if (usage === undefined) return [];
  const max = parseCount(read('hugetlb', `hugetlb.${pagesize}.max_usage_in_bytes`));
  const failcnt = parseCount(read('hugetlb', `hugetlb.${pagesize}.failcnt`));
  return [{ pagesize, usage: parseCount(usage), max, failcnt }];
}

function cpuStat(read: ReadCgroupFile): CgroupMetricsV1['cpu'] {
  const total = read('cpuacct', 'cpuacct.usage');
  const stat = read('cpu', 'cpu.stat');
  if (total === undefined && stat === undefined) return undefined;
  const ticks = parseKeyed(read('cpuacct', 'cpuacct.stat'));
  const throttling = parseKeyed(stat);
  const perCpu = read('cpuacct', 'cpuacct.usage_percpu')?.trim() ?? '';
  return {
    usage: {
      total: parseCount(total),
      kernel: (ticks.get('system') ?? 0n) * nanosecondsPerTick,
      user: (ticks.get('user') ?? 0n) * nanosecondsPerTick,
      perCpu: perCpu === '' ? [] : perCpu.split(/ +/).map(parseCount),
    },
    throttling: {
      periods: throttling.get('nr_periods') ?? 0n,
      throttledPeriods: throttling.get('nr_throttled') ?? 0n,
      throttledTime: throttling.get('throttled_time') ?? 0n,
    },
  };
}

function memoryStat(read: ReadCgroupFile, text: string): MemoryStatV1 {
  const values = parseKeyed(text);
  const counters = Object.entries(memoryCounters).map(([field, name]) => [field, values.get(name) ?? 0n]);
  return {
    ...(Object.fromEntries(counters) as Record<keyof typeof memoryCounters, bigint>),
    usage: memoryEntry(read, 'memory'),
    swap: memoryEntry(read, 'memory.memsw'),
    kernel: memoryEntry(read, 'memory.kmem'),
    kernelTcp: memoryEntry(read, 'memory.kmem.tcp'),
  };
}

function memoryEntry(read: ReadCgroupFile, prefix: string): MemoryEntryV1 {
  return {
    limit: parseCount(read('memory', `${prefix}.limit_in_bytes`)),
    usage: parseCount(read('memory', `${prefix}.usage_in_bytes`)),
    max: parseCount(read('memory', `${prefix}.max_usage_in_bytes`)),
    failcnt: parseCount(read('memory', `${prefix}.failcnt`)),
  };
}

function oomControl(text: string): CgroupMetricsV1['memoryOomControl'] & object {
  const values = parseKeyed(text);
  return {
    oomKillDisable: values.get('oom_kill_disable') ?? 0n,
    underOom: values.get('under_oom') ?? 0n,
    oomKill: values.get('oom_kill') ?? 0n,
  };
}

function blkioStat(read: ReadCgroupFile, devices: ReadonlyMap<string, string>): BlkioStatV1 | undefined {
  const texts = Object.entries(blkioFiles).map(([field, names]): [string, string[]] => [
    field,
    names.flatMap((name) => read('blkio', `blkio.${name}`) ?? []),
  ]);
  if (texts.every(([, contents]) => contents.length === 0)) return undefined;
  const entries = texts.map(([field, contents]) => [
    field,
    parseBlkioEntries(contents.find(hasEntries) ?? '', devices),
  ]);
  return Object.fromEntries(entries) as BlkioStatV1;
}

/** A scheduler that is not in use leaves only the total, 0. */
function hasEntries(text: string): boolean {
  return /^[0-9]/.test(text);
}

/** Lines `8:0 Read 4096` or `8:0 4096`; the total over all devices is left out. */
export function parseBlkioEntries(text: string, devices: ReadonlyMap<string, string>): BlkioEntryV1[] {
  return text.split('\n').flatMap((line) => {
    const [, major, minor, op = '', value] = /^([0-9]+):([0-9]+) (?:([A-Za-z]+) )?([0-9]+)$/.exec(line) ?? [];
    if (major === undefined || minor === undefined || value === undefined) return [];
    const device = devices.get(`${major}:${minor}`) ?? '';
    return [{ op, device, major: BigInt(major), minor: BigInt(minor), value: BigInt(value) }];
  });
}

function deviceNames(partitions: string): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const line of partitions.split('\n')) {
    const [, major, minor, name] = /^ *([0-9]+) +([0-9]+) +[0-9]+ +(\S+)$/.exec(line) ?? [];
    if (name !== undefined) names.set(`${major ?? ''}:${minor ?? ''}`, `/dev/${name}`);
  }
  return names;
}
