import { readProcessStatus } from '../../linux/index.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type cri, nowNanoseconds } from '../../wire/index.ts';
import { type Init } from '../../wire/index.ts';
import type { ContainerRecord, Layout, SandboxRecord } from '../pods/index.ts';
import { podCgroups } from './pod-cgroups.ts';
import type { DiskUsages } from './disk-usage.ts';
import { type PressurePair, readUsage, type Usage } from './usage.ts';

/** A rate is told from two samples at least so far apart. */
const minSampleMs = 100;
/** Samples of what is gone are dropped when there are so many. */
const maxSamples = 10_000;

interface Sample {
  readonly atMs: number;
  readonly cpuNanoseconds: bigint;
  readonly rate: bigint | undefined;
}

/** Makes statistics of cgroup counters. The shims are not asked: they may sleep. */
export class Stats {
  readonly #layout: Layout;
  readonly #disk: DiskUsages;
  readonly #mountPoint: string;
  readonly #samples = new Map<string, Sample>();

  constructor(layout: Layout, disk: DiskUsages) {
    this.#layout = layout;
    this.#disk = disk;
    this.#mountPoint = layout.writableLayers;
  }

  async container(record: ContainerRecord): Promise<Init<cri.ContainerStats>> {
    const { id, config, cgroups } = record;
    // Reading takes some dozen system calls: with many containers others must have their turn in between.
    await setImmediate();
    const usage = readUsage(cgroups);
    const disk = await this.#disk.of(join(this.#layout.writableLayer(id), 'upper'));
    const at = nowNanoseconds();
    return {
      attributes: { id, metadata: config.metadata, labels: config.labels, annotations: config.annotations },
      ...this.#common(id, usage, at),
      swap: swapUsage(usage, at),
      writableLayer: {
        timestamp: disk.at,
        fsId: { mountpoint: this.#mountPoint },
        usedBytes: { value: disk.bytes },
        inodesUsed: { value: disk.inodes },
      },
    };
  }

  /** @param containers those of the sandbox that run */
  async sandbox(record: SandboxRecord, containers: readonly ContainerRecord[]): Promise<Init<cri.PodSandboxStats>> {
    const { id, config, pid } = record;
    const stats = await Promise.all(containers.map((container) => this.container(container)));
    const usage = this.#podUsage(record, containers);
    const at = nowNanoseconds();
    const network = record.netnsPath === '' ? undefined : await networkUsage(pid, at);
    return {
      attributes: { id, metadata: config.metadata, labels: config.labels, annotations: config.annotations },
      linux: {
        ...this.#common(id, usage, at),
        ...(network && { network }),
        process: { timestamp: at, processCount: { value: usage.processes } },
        containers: stats,
      },
    };
  }

  /** Of the pod's own cgroup where it has one, else of its containers together. */
  #podUsage({ config }: SandboxRecord, containers: readonly ContainerRecord[]): Usage {
    const own = podCgroups(config.linux?.cgroupParent ?? '', containers);
    if (own !== undefined) return readUsage(own);
    return sum(containers.map(({ cgroups }) => readUsage(cgroups)));
  }

  #common(
    id: string,
    usage: Usage,
    at: bigint,
  ): { cpu: Init<cri.CpuUsage>; memory: Init<cri.MemoryUsage>; io?: Init<cri.IoUsage> } {
    const rate = this.#rate(id, usage.cpuNanoseconds);
    const { cpu, memory, io } = usage.pressure;
    const { limit, workingSet } = usage.memory;
    return {
      cpu: {
        timestamp: at,
        usageCoreNanoSeconds: { value: usage.cpuNanoseconds },
        ...(rate !== undefined && { usageNanoCores: { value: rate } }),
        ...(cpu && { psi: psi(cpu) }),
      },
      memory: {
        timestamp: at,
        workingSetBytes: { value: workingSet },
        availableBytes: { value: limit > workingSet ? limit - workingSet : 0n },
        usageBytes: { value: usage.memory.usage },
        rssBytes: { value: usage.memory.rss },
        pageFaults: { value: usage.memory.pageFaults },
        majorPageFaults: { value: usage.memory.majorPageFaults },
        ...(memory && { psi: psi(memory) }),
      },
      ...(io && { io: { timestamp: at, psi: psi(io) } }),
    };
  }

  /** Nanoseconds of processor time a second, since the last time that somebody asked. */
  #rate(id: string, cpuNanoseconds: bigint): bigint | undefined {
    const before = this.#samples.get(id);
    const atMs = performance.now();
    if (before !== undefined && atMs - before.atMs < minSampleMs) return before.rate;
    const rate =
      before === undefined || cpuNanoseconds < before.cpuNanoseconds
        ? undefined
        : BigInt(Math.round((Number(cpuNanoseconds - before.cpuNanoseconds) * 1000) / (atMs - before.atMs)));
    if (this.#samples.size > maxSamples) this.#samples.clear();
    this.#samples.set(id, { atMs, cpuNanoseconds, rate });
    return rate;
  }
}

function swapUsage({ swap }: Usage, at: bigint): Init<cri.SwapUsage> {
  return {
    timestamp: at,
    swapUsageBytes: { value: swap.usage },
    swapAvailableBytes: { value: swap.limit > swap.usage ? swap.limit - swap.usage : 0n },
  };
}

function psi({ some, full }: PressurePair): Init<cri.PsiStats> {
  const one = (pressure: PressurePair['some']) =>
    pressure && { Total: pressure.total, Avg10: pressure.avg10, Avg60: pressure.avg60, Avg300: pressure.avg300 };
  return { Some: one(some), Full: one(full) };
}

function sum(usages: readonly Usage[]): Usage {
  const total = (pick: (usage: Usage) => bigint) => usages.reduce((all, usage) => all + pick(usage), 0n);
  return {
    cpuNanoseconds: total((usage) => usage.cpuNanoseconds),
    memory: {
      usage: total(({ memory }) => memory.usage),
      workingSet: total(({ memory }) => memory.workingSet),
      rss: total(({ memory }) => memory.rss),
      pageFaults: total(({ memory }) => memory.pageFaults),
      majorPageFaults: total(({ memory }) => memory.majorPageFaults),
      limit: 0n,
    },
    swap: { usage: total(({ swap }) => swap.usage), limit: 0n },
    processes: total(({ processes }) => processes),
    pressure: {},
  };
}

/** Counters of the pod's interfaces, read through a process in its network namespace; undefined when there is none. */
async function networkUsage(pid: number, at: bigint): Promise<Init<cri.NetworkUsage> | undefined> {
  if (pid === 0 || readProcessStatus(pid) === undefined) return undefined;
  const text = await readFile(`/proc/${pid}/net/dev`, 'latin1').catch(() => '');
  const interfaces = text
    .split('\n')
    .slice(2)
    .flatMap(interfaceUsage)
    .filter(({ name }) => name !== 'lo');
  const defaultInterface = interfaces.find(({ name }) => name === 'eth0') ?? interfaces[0];
  if (defaultInterface === undefined) return undefined;
  return { timestamp: at, defaultInterface, interfaces: interfaces.filter((one) => one !== defaultInterface) };
}

/** One line of /proc/net/dev: eight counters received, eight sent. */
function interfaceUsage(line: string): Init<cri.NetworkInterfaceUsage>[] {
  const [, name = '', counters = ''] = /^\s*([^:]+):\s*(.*)$/.exec(line) ?? [];
  const values = counters.trim().split(/\s+/);
  if (name === '' || values.length < 11) return [];
  const value = (index: number) => ({ value: BigInt(values[index] ?? 0) });
  return [{ name, rxBytes: value(0), rxErrors: value(2), txBytes: value(8), txErrors: value(10) }];
}
