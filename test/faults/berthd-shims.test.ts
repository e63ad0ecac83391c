import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cri } from '../../src/wire/index.ts';
import { BerthdBed } from '../support/berthd-bed.ts';
import { containerInfo, eventsAfter, shimOf } from '../support/berthd-inside.ts';
import { hasEnded, suspend } from '../support/process-tree.ts';
import { sharedBed } from '../support/shared-bed.ts';
import { until } from '../support/until.ts';

const { CONTAINER_RUNNING, CONTAINER_EXITED } = cri.ContainerState;
const { SANDBOX_READY, SANDBOX_NOTREADY } = cri.PodSandboxState;
const forever = ['sleep', '3600'];
/** A hung shim must not hold up a start for longer. */
const startMilliseconds = 5000;
const poolRounds = 14;
/** It is asked, waited for, and then killed. */
const removalMilliseconds = 30_000;

describe('a shim', () => {
  const bed = sharedBed();

  beforeEach(async () => {
    if (bed().daemon.pid === undefined) await bed().start();
  });

  for (const isBerthdThere of [true, false]) {
    const when = isBerthdThere ? 'under berthd' : 'while berthd is not there';

    test(`that dies ${when} ends its own containers, and nobody else's`, async () => {
      const { cri: caller } = bed();
      const [pod, other] = await Promise.all([caller.runPod('dies'), caller.runPod('lives')]);
      const running = await caller.runContainer(pod, 'running', forever);
      const ended = await caller.runContainer(pod, 'ended', ['sh', '-c', 'exit 5']);
      const created = await caller.createContainer(pod, 'created', forever);
      const witness = await caller.runContainer(other, 'main', forever);
      const before = await caller.exited(ended);
      const [{ pid }, { pid: witnessPid }] = await Promise.all([
        containerInfo(bed(), running),
        containerInfo(bed(), witness),
      ]);
      const shim = await shimOf(bed(), pod);
      const died = Date.now();
      if (isBerthdThere) process.kill(shim, 'SIGKILL');
      else {
        await bed().kill9();
        process.kill(shim, 'SIGKILL');
        await bed().start();
      }
      const { exitCode, finishedAt, reason } = await caller.exited(running);
      assert.deepEqual([exitCode, reason], [137, 'Error']);
      const at = Number(finishedAt / 1_000_000n);
      assert.ok(at >= died - 1000 && at <= Date.now() + 1, `it ended ${at - died} ms after its shim`);
      await until('its process to end', () => hasEnded(pid));
      await until('its pod to be known', async () => (await caller.pod(pod)).state === SANDBOX_NOTREADY);
      const after = await caller.container(ended);
      assert.deepEqual([after.exitCode, after.finishedAt], [5, before.finishedAt]);
      await assert.rejects(caller.startContainer(created));
      await assert.rejects(caller.exec(running, ['true']));
      await assert.rejects(caller.createContainer(pod, 'next', forever));

      assert.equal((await caller.pod(other)).state, SANDBOX_READY);
      assert.equal((await containerInfo(bed(), witness)).pid, witnessPid);
      assert.equal((await caller.exec(witness, ['echo', 'well'])).stdout, 'well\n');
      const told = (await eventsAfter(bed(), 0n)).filter(({ containerId }) => containerId === running);
      assert.deepEqual(
        told.map(({ what, exitStatus }) => [what, exitStatus]),
        [
          ['create', undefined],
          ['start', undefined],
          ['exit', 137],
          ['delete', undefined],
        ],
      );
      await caller.removeContainer(running);
      await Promise.all([caller.removePod(pod), caller.removePod(other)]);
      await caller.removePod(await caller.runPod('dies'));
    });
  }

  test('that hangs while berthd starts delays its own pod alone, and is met again when it goes on', async () => {
    const { cri: caller } = bed();
    const [pod, other] = await Promise.all([caller.runPod('hangs'), caller.runPod('lives')]);
    const [stuck, ends] = await Promise.all([
      caller.runContainer(pod, 'stuck', forever),
      caller.runContainer(pod, 'ends', ['sh', '-c', 'sleep 1; exit 6']),
    ]);
    const witness = await caller.runContainer(other, 'main', forever);
    const { pid } = await containerInfo(bed(), ends);
    const shim = await shimOf(bed(), pod);
    await bed().kill9();
    await suspend(shim);
    try {
      const from = performance.now();
      await bed().start();
      const ms = performance.now() - from;
      assert.ok(ms < startMilliseconds, `it took ${ms} ms until it served`);
      assert.equal((await caller.exec(witness, ['echo', 'well'])).stdout, 'well\n');
      const next = await caller.runContainer(other, 'next', ['true']);
      assert.equal((await caller.exited(next)).exitCode, 0);
      const third = await caller.runPod('third');
      await Promise.all([caller.removePod(third), caller.removePod(other)]);
      const { items } = await caller.runtime('ListPodSandbox', {});
      assert.deepEqual(
        items.map(({ id }) => id),
        [pod],
      );
      assert.equal((await caller.container(stuck)).state, CONTAINER_RUNNING);
      const request = { containerId: stuck, cmd: ['true'] };
      await assert.rejects(caller.runtime('ExecSync', request, { timeoutMs: 500 }));
      await until('the end of a process of its pod', () => hasEnded(pid));
    } finally {
      process.kill(shim, 'SIGCONT');
    }
    await until('an answer', async () => (await caller.exec(stuck, ['true'])).exitCode === 0, 15_000);
    assert.equal((await caller.exited(ends)).exitCode, 6);
    assert.equal((await caller.pod(pod)).state, SANDBOX_READY);
    await caller.removePod(pod);
  });

  test('that hangs under berthd delays its own pod alone', async () => {
    const { cri: caller } = bed();
    const [pod, other] = await Promise.all([caller.runPod('hangs'), caller.runPod('lives')]);
    const stuck = await caller.runContainer(pod, 'stuck', forever);
    const witness = await caller.runContainer(other, 'main', forever);
    const shim = await shimOf(bed(), pod);
    await suspend(shim);
    let stopping: Promise<void> | undefined;
    try {
      stopping = caller.stopContainer(stuck, 1);
      stopping.catch(() => undefined); // it is awaited below
      await sleep(100);
      const from = performance.now();
      assert.equal((await caller.exec(witness, ['echo', 'well'])).stdout, 'well\n');
      await caller.removePod(other);
      await caller.removePod(await caller.runPod('third'));
      await caller.runtime('ListPodSandboxStats', {});
      assert.equal((await caller.container(stuck)).state, CONTAINER_RUNNING);
      const ms = performance.now() - from;
      assert.ok(ms < startMilliseconds, `it took ${ms} ms`);
    } finally {
      process.kill(shim, 'SIGCONT');
    }
    await stopping;
    assert.equal((await caller.container(stuck)).state, CONTAINER_EXITED);
    await caller.removePod(pod);
  });

  test('that hangs keeps nobody from removing its pod', async () => {
    const { cri: caller } = bed();
    const [first, second] = await Promise.all([caller.runPod('first'), caller.runPod('second')]);
    const ids = await Promise.all([first, second].map((pod) => caller.runContainer(pod, 'main', forever)));
    const pids = await Promise.all(ids.map(async (id) => (await containerInfo(bed(), id)).pid));
    const [shim, other] = await Promise.all([shimOf(bed(), first), shimOf(bed(), second)]);
    await bed().kill9();
    await suspend(shim); // before berthd meets it
    await bed().start();
    assert.equal((await caller.exec(ids[1] ?? '', ['echo', 'well'])).stdout, 'well\n');
    await suspend(other); // and after
    const from = performance.now();
    await Promise.all([caller.removePod(first), caller.removePod(second)]);
    const ms = performance.now() - from;
    assert.ok(ms < removalMilliseconds, `it took ${ms} ms`);
    for (const pid of [...pids, shim, other]) await until('the end of its processes', () => hasEnded(pid));
    const { items } = await caller.runtime('ListPodSandbox', {});
    assert.deepEqual(items, []);
  });
});

test('a shim that is just being started for the pool when berthd ends is not left behind', async (t) => {
  const bed = await BerthdBed.open(t, { started: false });
  for (let round = 0; round < poolRounds; round++) {
    await bed.start();
    // The pool is filled some time after the start; a shim takes 50 to 100 ms.
    await sleep(200 + round * 15);
    if (round % 2 === 0) await bed.stop();
    else await bed.kill9();
  }
  await bed.start(); // it cleans up after those that were killed; what is left then is looked for when the bed is closed
});
