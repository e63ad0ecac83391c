import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { processes } from '../../../src/wire/index.ts';
import { withEachRuntime } from '../../support/each-runtime.ts';
import { ShimBed } from '../../support/shim-bed.ts';
import { until } from '../../support/until.ts';
import { ContainerCgroup } from './container-cgroup.ts';

const sigkill = 9;

withEachRuntime('a paused container on cgroup v2', (runtime) => {
  test('stands still, and goes on when resumed', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, stdio } = await bed.running('one', ['sh', '-c', 'while :; do echo beat; sleep 0.05; done']);
    const cgroup = new ContainerCgroup(bed, 'one');
    await stdio.output.waitFor('beat');
    await client.task('Pause', { id: 'one' });
    assert.equal((await client.state()).status, processes.Status.PAUSED);
    assert.equal(cgroup.count('cgroup.events', 'frozen'), 1);
    // What it had written before may arrive late.
    const standsStill = async () => {
      const before = stdio.output.bytesRead;
      await sleep(400);
      return stdio.output.bytesRead === before && before;
    };
    const bytesRead = await until('its output to stand still', standsStill, 20_000);
    await sleep(400);
    assert.equal(stdio.output.bytesRead, bytesRead);
    await client.task('Resume', { id: 'one' });
    assert.equal((await client.state()).status, processes.Status.RUNNING);
    await until('it to go on', () => stdio.output.bytesRead > bytesRead);
  });

  test('is ended by SIGKILL as it is', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client } = await bed.running('one', ['sleep', '600']);
    await client.task('Pause', { id: 'one' });
    await client.kill(sigkill);
    assert.equal((await client.wait()).exitStatus, 128 + sigkill);
    await client.delete();
    assert.ok(!new ContainerCgroup(bed, 'one').exists, 'its cgroup is still there');
  });
});
