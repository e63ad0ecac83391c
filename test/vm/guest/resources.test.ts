import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupsV2, ociType, packJson, type protobuf, unpackAny } from '../../../src/wire/index.ts';
import { withEachRuntime } from '../../support/each-runtime.ts';
import { ShimBed } from '../../support/shim-bed.ts';
import { until } from '../../support/until.ts';
import { ContainerCgroup } from './container-cgroup.ts';

const memoryLimitBytes = 64 * 1024 * 1024;
const maxUint64 = 2n ** 64n - 1n;
const busy = 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; sleep 600; true';

function metricsV2(stats: protobuf.Any | undefined): cgroupsV2.Metrics {
  assert.equal(stats?.typeUrl, 'io.containerd.cgroups.v2.Metrics');
  return unpackAny(cgroupsV2.Metrics, stats);
}

function isBetween(value: bigint | undefined, low: bigint, high: bigint, what: string): void {
  assert.ok(value !== undefined && value >= low && value <= high, `${what}: ${value}, not ${low} to ${high}`);
}

withEachRuntime('the resources of a container on cgroup v2', (runtime) => {
  test('are told by Stats', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, stdio } = await bed.running('one', ['sh', '-c', busy], { memoryLimitBytes });
    const cgroup = new ContainerCgroup(bed, 'one');
    await stdio.output.waitFor('ready');
    await cgroup.untilItHas(2);
    const { cpu, memory, pids, memoryEvents, io } = metricsV2((await client.task('Stats', { id: 'one' })).stats);
    isBetween(cpu?.usageUsec, 10_000n, BigInt(cgroup.count('cpu.stat', 'usage_usec')), 'processor time');
    isBetween(cpu?.userUsec, 1n, cpu?.usageUsec ?? 0n, 'of it in user mode');
    isBetween(memory?.usage, 100_000n, BigInt(memoryLimitBytes), 'memory');
    isBetween(memory?.anon, 4096n, memory?.usage ?? 0n, 'of it anonymous');
    assert.equal(memory?.usageLimit, BigInt(memoryLimitBytes));
    assert.equal(memory.swapLimit, 0n);
    assert.deepEqual(
      [pids?.current, pids?.limit],
      [2n, BigInt(cgroup.read('pids.max').replace('max', `${maxUint64}`))],
    );
    assert.equal(memoryEvents?.oomKill, 0n);
    assert.ok(io);
  });

  test('are changed by Update, while it runs', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client } = await bed.running('one', ['sleep', '600'], { memoryLimitBytes });
    const cgroup = new ContainerCgroup(bed, 'one');
    const more = 2 * memoryLimitBytes;
    const resources = {
      memory: { limit: more, swap: more },
      cpu: { shares: 512, quota: 50_000, period: 100_000 },
      pids: { limit: 20 },
    };
    await client.task('Update', { id: 'one', resources: packJson(ociType.resources, resources) });
    const files = ['memory.max', 'memory.swap.max', 'cpu.max', 'pids.max'];
    assert.deepEqual(
      files.map((file) => cgroup.read(file)),
      [`${more}`, '0', '50000 100000', '20'],
    );
    assert.ok(Number(cgroup.read('cpu.weight')) < 100, cgroup.read('cpu.weight'));
    const { memory, pids } = metricsV2((await client.task('Stats', { id: 'one' })).stats);
    assert.deepEqual([memory?.usageLimit, pids?.limit], [BigInt(more), 20n]);
  });

  test('are added up for its sandbox', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const pod = await bed.shim('pod', ['true'], { env: { MAX_SHIM_VERSION: '3' } });
    await pod.sandbox('CreateSandbox', { sandboxId: 'pod', bundlePath: pod.options.bundle });
    await pod.sandbox('StartSandbox', { sandboxId: 'pod' });
    for (const id of ['one', 'two']) {
      await pod.task('Create', { id, bundle: bed.bundle(id, ['sleep', '600']).bundle });
      await pod.task('Start', { id });
      const cgroup = new ContainerCgroup(bed, id);
      // The threads of the runtime count until its process has become that of the container.
      await until(`${id} to be one thread`, () => cgroup.read('pids.current') === '1');
    }
    const { metrics } = await pod.sandbox('SandboxMetrics', { sandboxId: 'pod' });
    const { cpu, memory, pids } = metricsV2(metrics?.data);
    assert.equal(pids?.current, 2n);
    for (const used of [cpu?.usageUsec, memory?.usage]) assert.ok(used !== undefined && used > 0n);
    await pod.sandbox('ShutdownSandbox', { sandboxId: 'pod' });
  });
});
