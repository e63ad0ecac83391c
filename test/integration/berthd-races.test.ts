import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import { cri } from '../../src/wire/index.ts';
import { eventsAfter } from '../support/berthd-inside.ts';
import { sharedBed } from '../support/shared-bed.ts';
import { until } from '../support/until.ts';

const { CONTAINER_EXITED } = cri.ContainerState;
const forever = ['sleep', '3600'];
/** No call of these waits for anything but what is done by another. */
const soonMilliseconds = 8000;

/** The errors of those that were refused; each must have one of the codes. */
function refusals(answers: readonly PromiseSettledResult<unknown>[], ...codes: Code[]): unknown[] {
  const reasons = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as unknown] : []));
  for (const reason of reasons) assert.ok(isRpcError(reason, ...codes), String(reason));
  return reasons;
}

describe('calls that meet', () => {
  const bed = sharedBed();

  test('of several starts one succeeds', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('starts');
    const id = await caller.createContainer(pod, 'main', forever);
    const answers = await Promise.allSettled([1, 2, 3].map(() => caller.startContainer(id)));
    assert.equal(refusals(answers, Code.FailedPrecondition).length, 2);
    await caller.removePod(pod);
  });

  test('a stop in the middle of a start ends the container, and is answered when it has', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('stops');
    for (const delay of [0, 5, 15, 30, 50]) {
      const id = await caller.createContainer(pod, `after-${delay}`, forever);
      const starting = caller.startContainer(id);
      await sleep(delay);
      const answers = await Promise.allSettled([starting, caller.stopContainer(id), caller.stopContainer(id)]);
      assert.equal(refusals(answers, Code.FailedPrecondition).length, 0);
      const { state } = await caller.container(id);
      if (state !== CONTAINER_EXITED) assert.equal(delay, 0, 'a stop may come before a start, and is nothing then');
      await caller.removeContainer(id);
    }
    await caller.removePod(pod);
  });

  test('a container that ends as it is stopped has one end', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('ends');
    for (const delay of [0.02, 0.05, 0.08]) {
      const id = await caller.runContainer(pod, `after-${delay}`, ['sh', '-c', `sleep ${delay}; exit 3`]);
      await caller.stopContainer(id, 5);
      const { state, exitCode } = await caller.container(id);
      assert.equal(state, CONTAINER_EXITED);
      assert.ok([3, 143].includes(exitCode), `its exit code is ${exitCode}`);
      await caller.removeContainer(id);
      const told = (await eventsAfter(bed(), 0n)).filter(({ containerId }) => containerId === id);
      assert.deepEqual(
        told.map(({ what }) => what),
        ['create', 'start', 'exit', 'delete'],
      );
    }
    await caller.removePod(pod);
  });

  test('a command ends with its container', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('commands');
    const id = await caller.runContainer(pod, 'main', forever);
    const commands = [1, 2, 3].map(() => caller.exec(id, ['sh', '-c', 'echo up; sleep 3600'], 0));
    const answers = Promise.allSettled(commands);
    const processes = async () => (await caller.exec(id, ['ps', '-o', 'args'])).stdout.match(/^sleep/gm)?.length;
    await until('the commands', async () => (await processes()) === 4);
    const from = performance.now();
    await caller.stopContainer(id);
    for (const answer of await answers) {
      if (answer.status === 'fulfilled') assert.equal(answer.value.exitCode, 137);
      else assert.ok(isRpcError(answer.reason), String(answer.reason));
    }
    const ms = performance.now() - from;
    assert.ok(ms < soonMilliseconds, `it took ${ms} ms`);
    await caller.removePod(pod);
  });

  test('whatever is done in a pod that is removed, it goes, and all of it', async () => {
    const { cri: caller } = bed();
    for (const delay of [0, 10, 30, 60]) {
      const pod = await caller.runPod('removed');
      const main = await caller.runContainer(pod, 'main', forever);
      const next = await caller.createContainer(pod, 'next', forever);
      const others = [
        caller.exec(main, ['sleep', '3600'], 0),
        caller.createContainer(pod, 'late', forever),
        caller.startContainer(next),
        caller.stopContainer(main, 30),
        caller.removeContainer(next),
      ];
      const answers = Promise.allSettled(others);
      await sleep(delay);
      const from = performance.now();
      const removals = [1, 2].map(() => caller.runtime('RemovePodSandbox', { podSandboxId: pod }));
      await Promise.all(removals);
      for (const answer of await answers) {
        if (answer.status === 'rejected') assert.ok(isRpcError(answer.reason), String(answer.reason));
      }
      const ms = performance.now() - from;
      assert.ok(ms < soonMilliseconds, `it took ${ms} ms`);
      const { items } = await caller.runtime('ListPodSandbox', {});
      assert.deepEqual(items, []);
      const { containers } = await caller.runtime('ListContainers', {});
      assert.deepEqual(containers, []);
    }
  });
});
