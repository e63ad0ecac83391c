import assert from 'node:assert/strict';
import { test } from 'node:test';
import { task } from '../../../src/wire/index.ts';
import { withEachRuntime } from '../../support/each-runtime.ts';
import { hasEnded } from '../../support/process-tree.ts';
import { ShimBed } from '../../support/shim-bed.ts';
import { until } from '../../support/until.ts';
import { ContainerCgroup } from './container-cgroup.ts';

const sigkill = 9;

withEachRuntime('after a shim was killed, its delete command', (runtime) => {
  test('ends the whole container and removes its cgroup, paused or not', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    for (const state of ['running', 'paused'] as const) {
      const { client, pid } = await bed.running(state, ['sh', '-c', 'sleep 600 & sleep 600; true']);
      const cgroup = new ContainerCgroup(bed, state);
      await cgroup.untilItHas(3);
      const pids = cgroup.pids;
      if (state === 'paused') await client.task('Pause', { id: state });
      const shim = await client.shimPid();
      process.kill(shim, 'SIGKILL');
      await until('the shim to be gone', () => hasEnded(shim));
      const { code, stdout, stderr } = await client.deleteCommand();
      assert.equal(code, 0, stderr);
      const answer = task.DeleteResponse.decode(stdout);
      assert.deepEqual([answer.pid, answer.exitStatus], [pid, 128 + sigkill]);
      assert.ok(pids.every(hasEnded), 'a process still runs');
      assert.ok(!cgroup.exists, 'its cgroup is still there');
    }
  });
});
