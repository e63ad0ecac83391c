import type { CgroupMetrics } from '../linux/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import { cgroupsV1, cgroupsV2, packAny, toTimestamp, type Init, type protobuf, type types } from '../wire/index.ts';
import type { Container } from './container.ts';

/** A container's counters in the message that belongs to the host's cgroup version. */
export function cgroupMetricsAny(read: CgroupMetrics): protobuf.Any {
  return read.version === 1 ? packAny(cgroupsV1.Metrics, read.metrics) : packAny(cgroupsV2.Metrics, read.metrics);
}

/**
 * What the members of a sandbox use together: processor time, memory and processes. Limits are not added up.
 * @throws TtrpcError FAILED_PRECONDITION while no member runs
 */
export function sandboxMetrics(id: string, containers: readonly Container[], now: bigint): Init<types.Metric> {
  const running = containers.filter((container) => container.init.state === 'running');
  const read = running.map((container) => container.metrics());
  const first = read[0];
  if (first === undefined)
    throw new TtrpcError(Code.FailedPrecondition, `sandbox "${id}" has no running container to measure`);
  return { id, timestamp: toTimestamp(now), data: first.version === 1 ? sumV1(read) : sumV2(read) };
}

function sumV1(read: readonly CgroupMetrics[]): protobuf.Any {
  const all = read.flatMap((one) => (one.version === 1 ? [one.metrics] : []));
  return packAny(cgroupsV1.Metrics, {
    pids: { current: sum(all.map(({ pids }) => pids?.current)) },
    cpu: {
      usage: {
        total: sum(all.map(({ cpu }) => cpu?.usage.total)),
        kernel: sum(all.map(({ cpu }) => cpu?.usage.kernel)),
        user: sum(all.map(({ cpu }) => cpu?.usage.user)),
      },
    },
    memory: {
      totalRss: sum(all.map(({ memory }) => memory?.totalRss)),
      totalCache: sum(all.map(({ memory }) => memory?.totalCache)),
      totalInactiveFile: sum(all.map(({ memory }) => memory?.totalInactiveFile)),
      usage: { usage: sum(all.map(({ memory }) => memory?.usage.usage)) },
    },
  });
}

function sumV2(read: readonly CgroupMetrics[]): protobuf.Any {
  const all = read.flatMap((one) => (one.version === 2 ? [one.metrics] : []));
  return packAny(cgroupsV2.Metrics, {
    pids: { current: sum(all.map(({ pids }) => pids?.current)) },
    cpu: {
      usageUsec: sum(all.map(({ cpu }) => cpu?.usageUsec)),
      userUsec: sum(all.map(({ cpu }) => cpu?.userUsec)),
      systemUsec: sum(all.map(({ cpu }) => cpu?.systemUsec)),
    },
    memory: {
      usage: sum(all.map(({ memory }) => memory?.usage)),
      anon: sum(all.map(({ memory }) => memory?.anon)),
      file: sum(all.map(({ memory }) => memory?.file)),
      inactiveFile: sum(all.map(({ memory }) => memory?.inactiveFile)),
    },
  });
}

function sum(values: readonly (bigint | undefined)[]): bigint {
  return values.reduce<bigint>((total, value) => total + (value ?? 0n), 0n);
}
