import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import { TestBed } from '../support/test-bed.ts';

interface CgroupV1Metrics {
  pids?: { current?: number };
  cpu?: { usage?: { total?: number } };
  memory?: { usage?: { usage?: number; limit?: number } };
}

withEachRuntime('ctr task metrics', (runtime) => {
  test('show what the container uses and may use', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const limit = 64 * 1024 * 1024;
    const command = ['sh', '-c', 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000 & echo ready; wait'];
    const run = bed.start(bed.run({ id: 'measured', flags: ['--memory-limit', String(limit)], command }));
    await run.says('ready');
    const metrics = JSON.parse(
      await bed.ctrPrints('tasks', 'metrics', '--format', 'json', 'measured'),
    ) as CgroupV1Metrics;
    assert.equal(metrics.pids?.current, 2);
    assert.equal(metrics.memory?.usage?.limit, limit);
    const used = metrics.memory.usage.usage ?? 0;
    assert.ok(used > 0 && used < limit, `memory: ${used}`);
    const nanoseconds = metrics.cpu?.usage?.total ?? 0;
    assert.ok(nanoseconds > 1e6 && nanoseconds < 1e11, `CPU time: ${nanoseconds} ns`);
    const table = await bed.ctrPrints('tasks', 'metrics', 'measured');
    assert.match(table, /memory\.usage_in_bytes\s+\d+/);
  });
});
