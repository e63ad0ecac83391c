import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { withEachRuntime } from '../support/each-runtime.ts';
import { TestBed } from '../support/test-bed.ts';
import { until } from '../support/until.ts';

withEachRuntime('ctr task pause and resume', (runtime) => {
  test('a paused container stands still, and goes on when resumed', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const beats = bed.path('rootfs', 'beats');
    await bed.runDetached({ id: 'heart', command: ['sh', '-c', 'while :; do echo beat >>/beats; sleep 0.02; done'] });
    await until('the container writes', () => statSync(beats).size > 0);

    await bed.ctrPrints('tasks', 'pause', 'heart');
    assert.equal(await bed.taskStatus('heart'), 'PAUSED');
    const { size } = statSync(beats);
    await sleep(300);
    assert.equal(statSync(beats).size, size);

    await bed.ctrPrints('tasks', 'resume', 'heart');
    assert.equal(await bed.taskStatus('heart'), 'RUNNING');
    await until('the container writes again', () => statSync(beats).size > size);
  });

  test('a paused container can be killed', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    await bed.runDetached({ id: 'frozen', command: ['sleep', '1000'] });
    await bed.ctrPrints('tasks', 'pause', 'frozen');
    await bed.ctrPrints('tasks', 'kill', '--signal', 'SIGKILL', 'frozen');
    await bed.ctr(['tasks', 'resume', 'frozen']); // on cgroup v1 the signal is only delivered then
    const { fields } = await events.until('frozen', 'exit');
    assert.equal(fields['exit_status'], 137);
  });

  test('what is not running is not paused', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    await bed.runDetached({ id: 'ended', command: ['true'] });
    await events.until('ended', 'exit');
    assert.notEqual((await bed.ctr(['tasks', 'pause', 'ended'])).code, 0);
    assert.equal(await bed.taskStatus('ended'), 'STOPPED');
  });
});
