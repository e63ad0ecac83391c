import { parseCount, parseKeyed, parseNestedKeyed } from './files.ts';
import type { ReadCgroupFile } from './files.ts';
import { parseRdma } from './rdma.ts';
import type { RdmaStat } from './rdma.ts';

/**
 * What cgroup v2 tells of a container; named as the fields of io.containerd.cgroups.v2.Metrics. A controller that is not there is
 * undefined. Times in microseconds, memory in bytes; no limit is 2^64 - 1.
 */
export interface CgroupMetricsV2 {
  pids?: { current: bigint; limit: bigint };
  cpu?: CpuStatV2;
  memory?: MemoryStatV2;
  rdma?: RdmaStat;
  io?: { usage: IoEntryV2[]; psi?: PressureStat };
  hugetlb: HugetlbStatV2[];
  memoryEvents?: MemoryEventsV2;
}

/** Pressure stall information (PSI): averages in percent, total in microseconds. */
export interface PressureData {
  avg10: number;
  avg60: number;
  avg300: number;
  total: bigint;
}

export interface PressureStat {
  some?: PressureData;
  full?: PressureData;
}

export interface IoEntryV2 {
  major: bigint;
  minor: bigint;
  rbytes: bigint;
  wbytes: bigint;
  rios: bigint;
  wios: bigint;
}

export interface HugetlbStatV2 {
  pagesize: string;
  current: bigint;
  max: bigint;
  failcnt: bigint;
}

const cpuCounters = {
  usageUsec: 'usage_usec',
  userUsec: 'user_usec',
  systemUsec: 'system_usec',
  nrPeriods: 'nr_periods',
  nrThrottled: 'nr_throttled',
  throttledUsec: 'throttled_usec',
  nrBursts: 'nr_bursts',
  burstUsec: 'burst_usec',
} as const;

const memoryCounters = {
  anon: 'anon',
  file: 'file',
  kernelStack: 'kernel_stack',
  slab: 'slab',
  sock: 'sock',
  shmem: 'shmem',
  fileMapped: 'file_mapped',
  fileDirty: 'file_dirty',
  fileWriteback: 'file_writeback',
  anonThp: 'anon_thp',
  inactiveAnon: 'inactive_anon',
  activeAnon: 'active_anon',
  inactiveFile: 'inactive_file',
  activeFile: 'active_file',
  unevictable: 'unevictable',
  slabReclaimable: 'slab_reclaimable',
  slabUnreclaimable: 'slab_unreclaimable',
  pgfault: 'pgfault',
  pgmajfault: 'pgmajfault',
  pgrefill: 'pgrefill',
  pgscan: 'pgscan',
  pgsteal: 'pgsteal',
  pgactivate: 'pgactivate',
  pgdeactivate: 'pgdeactivate',
  pglazyfree: 'pglazyfree',
  pglazyfreed: 'pglazyfreed',
  thpFaultAlloc: 'thp_fault_alloc',
  thpCollapseAlloc: 'thp_collapse_alloc',
} as const;

/** Since Linux 5.9 counted for anonymous and file pages apart; the wire has one number each. */
const workingsetCounters = {
  workingsetRefault: 'workingset_refault',
  workingsetActivate: 'workingset_activate',
  workingsetNodereclaim: 'workingset_nodereclaim',
} as const;

const memoryFiles = {
  usage: 'memory.current',
  usageLimit: 'memory.max',
  maxUsage: 'memory.peak',
  swapUsage: 'memory.swap.current',
  swapLimit: 'memory.swap.max',
  swapMaxUsage: 'memory.swap.peak',
} as const;

const memoryEventCounters = {
  low: 'low',
  high: 'high',
  max: 'max',
  oom: 'oom',
  oomKill: 'oom_kill',
  oomGroupKill: 'oom_group_kill',
} as const;

export type CpuStatV2 = Record<keyof typeof cpuCounters, bigint> & { psi?: PressureStat };
export type MemoryStatV2 = Record<
  keyof typeof memoryCounters | keyof typeof workingsetCounters | keyof typeof memoryFiles,
  bigint
> & {
  psi?: PressureStat;
};
export type MemoryEventsV2 = Record<keyof typeof memoryEventCounters, bigint>;

/** `pagesizes`: names of huge pages, as `2MB`. */
export function cgroupMetricsV2(read: ReadCgroupFile, pagesizes: string[]): CgroupMetricsV2 {
  const file = (name: string): string | undefined => read('', name);
  const metrics: CgroupMetricsV2 = { hugetlb: pagesizes.flatMap((pagesize) => hugetlb(file, pagesize)) };
  const pids = file('pids.current');
  if (pids !== undefined) metrics.pids = { current: parseCount(pids), limit: parseCount(file('pids.max')) };
  const cpu = file('cpu.stat');
  if (cpu !== undefined) metrics.cpu = { ...pick(cpuCounters, parseKeyed(cpu)), ...pressure(file('cpu.pressure')) };
  const memory = file('memory.stat');
  if (memory !== undefined) metrics.memory = memoryStat(file, memory);
  const events = file('memory.events');
  if (events !== undefined) metrics.memoryEvents = parseMemoryEvents(events);
  const io = file('io.stat');
  if (io !== undefined) metrics.io = { usage: parseIoStat(io), ...pressure(file('io.pressure')) };
  const rdma = parseRdma(file('rdma.current'), file('rdma.max'));
  if (rdma !== undefined) metrics.rdma = rdma;
  return metrics;
}

function pick<Field extends string>(
  names: Record<Field, string>,
  values: ReadonlyMap<string, bigint>,
): Record<Field, bigint> {
  const entries = Object.entries<string>(names).map(([field, name]) => [field, values.get(name) ?? 0n]);
  return Object.fromEntries(entries) as Record<Field, bigint>;
}

function memoryStat(file: (name: string) => string | undefined, text: string): MemoryStatV2 {
  const values = parseKeyed(text);
  const workingset = Object.entries(workingsetCounters).map(([field, name]) => [field, sumOfKinds(values, name)]);
  const single = Object.entries(memoryFiles).map(([field, name]) => [field, parseCount(file(name))]);
  return {
    ...pick(memoryCounters, values),
    ...(Object.fromEntries(workingset) as Record<keyof typeof workingsetCounters, bigint>),
    ...(Object.fromEntries(single) as Record<keyof typeof memoryFiles, bigint>),
    ...pressure(file('memory.pressure')),
  };
}

function sumOfKinds(values: ReadonlyMap<string, bigint>, name: string): bigint {
  return values.get(name) ?? (values.get(`${name}_anon`) ?? 0n) + (values.get(`${name}_file`) ?? 0n);
}

export function parseMemoryEvents(text: string): MemoryEventsV2 {
  return pick(memoryEventCounters, parseKeyed(text));
}

function pressure(text: string | undefined): { psi?: PressureStat } {
  const psi = text === undefined ? {} : parsePressure(text);
  return psi.some === undefined && psi.full === undefined ? {} : { psi };
}

/** Reads cpu.pressure, memory.pressure or io.pressure. */
export function parsePressure(text: string): PressureStat {
  const stat: PressureStat = {};
  for (const { name, values } of parseNestedKeyed(text)) {
    if (name === 'some' || name === 'full') {
      stat[name] = {
        avg10: Number(values.get('avg10') ?? 0),
        avg60: Number(values.get('avg60') ?? 0),
        avg300: Number(values.get('avg300') ?? 0),
        total: parseCount(values.get('total')),
      };
    }
  }
  return stat;
}

/** Reads io.stat; lines of devices that the kernel has no counters for are left out. */
export function parseIoStat(text: string): IoEntryV2[] {
  return parseNestedKeyed(text).flatMap(({ name, values }) => {
    const [, major, minor] = /^([0-9]+):([0-9]+)$/.exec(name) ?? [];
    if (major === undefined || minor === undefined) return [];
    return [
      {
        major: BigInt(major),
        minor: BigInt(minor),
        rbytes: parseCount(values.get('rbytes')),
        wbytes: parseCount(values.get('wbytes')),
        rios: parseCount(values.get('rios')),
        wios: parseCount(values.get('wios')),
      },
    ];
  });
}

function hugetlb(file: (name: string) => string | undefined, pagesize: string): HugetlbStatV2[] {
  const current = file(`hugetlb.${pagesize}.current`);
  if (current === undefined) return [];
  const failcnt = parseKeyed(file(`hugetlb.${pagesize}.events`)).get('max') ?? 0n;
  return [{ pagesize, current: parseCount(current), max: parseCount(file(`hugetlb.${pagesize}.max`)), failcnt }];
}
