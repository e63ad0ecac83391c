import assert from 'node:assert/strict';
import { test } from 'node:test';
import { events } from '../../../src/wire/index.ts';
import { withEachRuntime } from '../../support/each-runtime.ts';
import { FifoWriter } from '../../support/fifo.ts';
import { isAsleep } from '../../support/process-tree.ts';
import { ShimBed } from '../../support/shim-bed.ts';
import { until } from '../../support/until.ts';
import { ContainerCgroup } from './container-cgroup.ts';

const sigkill = 9;
const memoryLimitBytes = 16 * 1024 * 1024;
const childOnly = 'while read go; do tail /dev/zero; echo went on; done';

withEachRuntime('running out of memory on cgroup v2', (runtime) => {
  test('is told before the exit that it causes', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client } = await bed.running('hog', ['tail', '/dev/zero'], { memoryLimitBytes });
    assert.equal((await client.wait()).exitStatus, 128 + sigkill);
    await client.delete();
    await bed.sink.nextOf('/tasks/delete', events.TaskDelete);
    assert.deepEqual(bed.sink.topics('hog'), [
      '/tasks/create',
      '/tasks/start',
      '/tasks/oom',
      '/tasks/exit',
      '/tasks/delete',
    ]);
  });

  test('of a child is told while the container runs on, each time once', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, stdio } = await bed.running('one', ['sh', '-c', childOnly], { memoryLimitBytes });
    using writer = await FifoWriter.open(stdio.stdin);
    const told = () => bed.sink.topics('one').filter((topic) => topic === '/tasks/oom').length;
    for (const times of [1, 2]) {
      writer.write('go\n');
      await stdio.output.waitFor('went on\n'.repeat(times));
      await until('it to be told', () => told() === times);
    }
    assert.equal(new ContainerCgroup(bed, 'one').count('memory.events', 'oom_kill'), 2);
    await client.kill(sigkill);
    await client.wait();
    await bed.sink.nextOf('/tasks/exit', events.TaskExit);
    assert.equal(told(), 2);
  });

  test('wakes a sleeping shim, which sleeps again', async (t) => {
    const bed = await ShimBed.open(t, { runtime, env: { BERTH_SLEEP_AFTER_SECONDS: '1' } });
    const { client, stdio } = await bed.running('one', ['sh', '-c', childOnly], { memoryLimitBytes });
    using writer = await FifoWriter.open(stdio.stdin);
    const shim = await client.shimPid();
    const asleep = () => isAsleep(shim);
    await until('the shim to sleep', asleep, 20_000);
    writer.write('go\n');
    await bed.sink.nextOf('/tasks/oom', events.TaskOOM);
    await until('the shim to sleep again', asleep, 20_000);
    assert.equal((await client.berth('Info', {})).woken, 2);
    assert.equal(bed.sink.topics('one').filter((topic) => topic === '/tasks/oom').length, 1);
  });
});
