import { type CgroupDirectories, readCgroupMetrics } from '../../linux/index.ts';

/** Pressure: percent of time, and microseconds in all. */
export interface Pressure {
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  readonly total: bigint;
}

export interface PressurePair {
  readonly some?: Pressure;
  readonly full?: Pressure;
}

/** What a cgroup uses, alike for v1 and v2; bytes and nanoseconds. */
export interface Usage {
  readonly cpuNanoseconds: bigint;
  readonly memory: {
    readonly usage: bigint;
    readonly workingSet: bigint;
    readonly rss: bigint;
    readonly pageFaults: bigint;
    readonly majorPageFaults: bigint;
    /** 0 for no limit. */
    readonly limit: bigint;
  };
  readonly swap: { readonly usage: bigint; readonly limit: bigint };
  readonly processes: bigint;
  readonly pressure: { readonly cpu?: PressurePair; readonly memory?: PressurePair; readonly io?: PressurePair };
}

/** Limits from here on mean: none (v1 writes the largest multiple of a page). */
const noLimit = 0x7000000000000000n;

const limitOf = (value: bigint) => (value >= noLimit ? 0n : value);
const positive = (value: bigint) => (value > 0n ? value : 0n);

/** The counters of a container's or a pod's cgroups; zeros for those that are gone. */
export function readUsage(cgroups: CgroupDirectories): Usage {
  const read = readCgroupMetrics(cgroups);
  if (read.version === 2) {
    const { cpu, memory, pids, io } = read.metrics;
    return {
      cpuNanoseconds: (cpu?.usageUsec ?? 0n) * 1000n,
      memory: {
        usage: memory?.usage ?? 0n,
        workingSet: positive((memory?.usage ?? 0n) - (memory?.inactiveFile ?? 0n)),
        rss: memory?.anon ?? 0n,
        pageFaults: memory?.pgfault ?? 0n,
        majorPageFaults: memory?.pgmajfault ?? 0n,
        limit: limitOf(memory?.usageLimit ?? 0n),
      },
      swap: { usage: memory?.swapUsage ?? 0n, limit: limitOf(memory?.swapLimit ?? 0n) },
      processes: pids?.current ?? 0n,
      pressure: {
        ...(cpu?.psi && { cpu: cpu.psi }),
        ...(memory?.psi && { memory: memory.psi }),
        ...(io?.psi && { io: io.psi }),
      },
    };
  }
  const { cpu, memory, pids } = read.metrics;
  const usage = memory?.usage.usage ?? 0n;
  const withSwap = memory?.swap;
  return {
    cpuNanoseconds: cpu?.usage.total ?? 0n,
    memory: {
      usage,
      workingSet: positive(usage - (memory?.totalInactiveFile ?? 0n)),
      rss: memory?.totalRss ?? 0n,
      pageFaults: memory?.totalPgFault ?? 0n,
      majorPageFaults: memory?.totalPgMajFault ?? 0n,
      limit: limitOf(memory?.usage.limit ?? 0n),
    },
    swap: {
      usage: positive((withSwap?.usage ?? 0n) - (withSwap === undefined ? 0n : usage)),
      limit: limitOf(positive((withSwap?.limit ?? 0n) - (memory?.usage.limit ?? 0n))),
    },
    processes: pids?.current ?? 0n,
    pressure: {},
  };
}
