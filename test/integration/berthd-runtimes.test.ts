import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { describe, test } from 'node:test';
import { cri } from '../../src/wire/index.ts';
import { BerthdBed } from '../support/berthd-bed.ts';
import { containerInfo, eventsAfter, podInfo } from '../support/berthd-inside.ts';
import { readLog } from '../support/cri-caller.ts';
import { countedTo, counting, newGate } from '../support/gate.ts';
import { ociRuntimes } from '../support/paths.ts';
import { hasEnded } from '../support/process-tree.ts';
import { sharedBed } from '../support/shared-bed.ts';
import { until } from '../support/until.ts';

const handlers = ['runc', 'other'] as const;
const bothRuntimes = `
[runtimes.runc]
binary = "${ociRuntimes.runc}"
[runtimes.other]
shim = "containerd-shim-runc-v2"
`;

describe("our shim and containerd's, side by side under one berthd", () => {
  const bed = sharedBed({ config: bothRuntimes });

  test('both run pods, with logs, commands and exit codes', async () => {
    const { cri: caller } = bed();
    for (const runtimeHandler of handlers) {
      const pod = await caller.runPod(`life-${runtimeHandler}`, { runtimeHandler });
      const status = await caller.pod(pod);
      assert.equal(status.runtimeHandler, runtimeHandler);
      assert.match(status.network?.ip ?? '', /^10\.88\./);
      const { shim } = await podInfo(bed(), pod);
      assert.ok(shim);
      assert.equal(shim.ours, runtimeHandler === 'runc');
      const script = 'trap "exit 4" TERM; echo out; echo err >&2; while :; do sleep 0.05; done';
      const id = await caller.runContainer(pod, 'main', ['sh', '-c', script]);
      await until('its output', async () => (await caller.log(id)).length === 2);
      assert.equal(await caller.output(id, 'stdout'), 'out\n');
      assert.equal(await caller.output(id, 'stderr'), 'err\n');
      const answer = await caller.exec(id, ['sh', '-c', 'hostname; echo err >&2; exit 5']);
      assert.equal(answer.exitCode, 5);
      assert.equal(answer.stderr, 'err\n');
      const { stats } = await caller.runtime('ContainerStats', { containerId: id });
      assert.ok((stats?.memory?.workingSetBytes?.value ?? 0n) > 0n);
      await caller.stopContainer(id, 30);
      const { exitCode, reason } = await caller.container(id);
      assert.deepEqual([exitCode, reason], [4, 'Error']);
      await caller.removePod(pod);
      assert.ok(hasEnded(shim.pid), 'its shim goes with a pod');
    }
  });

  test('both share what a pod shares', async () => {
    const { cri: caller } = bed();
    for (const runtimeHandler of handlers) {
      const pod = await caller.runPod(`shares-${runtimeHandler}`, { runtimeHandler, hostname: 'harbour' });
      const one = await caller.runContainer(pod, 'one', ['sleep', '3600']);
      const two = await caller.runContainer(pod, 'two', ['sleep', '3600']);
      await caller.exec(one, ['sh', '-c', 'echo shared > /dev/shm/note']);
      assert.equal((await caller.exec(two, ['cat', '/dev/shm/note'])).stdout, 'shared\n');
      assert.equal((await caller.exec(two, ['hostname'])).stdout, 'harbour\n');
      const namespaces = 'readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts';
      const [first, second] = await Promise.all([one, two].map((id) => caller.exec(id, ['sh', '-c', namespaces])));
      assert.equal(first?.stdout, second?.stdout);
      await caller.removePod(pod);
    }
  });

  test('both tell of a container that the kernel kills for its memory, and of one that cannot be started', async () => {
    const { cri: caller } = bed();
    const resources = { memoryLimitInBytes: 24n * 1024n * 1024n };
    for (const runtimeHandler of handlers) {
      const pod = await caller.runPod(`fails-${runtimeHandler}`, { runtimeHandler });
      const oom = await caller.runContainer(pod, 'oom', ['tail', '/dev/zero'], { linux: { resources } });
      const killed = await caller.exited(oom);
      assert.deepEqual([runtimeHandler, killed.exitCode, killed.reason], [runtimeHandler, 137, 'OOMKilled']);
      const absent = await caller.createContainer(pod, 'absent', ['/bin/absent']);
      await assert.rejects(caller.startContainer(absent), /absent/);
      const failed = await caller.container(absent);
      assert.deepEqual([runtimeHandler, failed.exitCode, failed.reason], [runtimeHandler, 128, 'StartError']);
      await caller.removePod(pod);
    }
  });

  test('both go on in a new log when the old one was renamed', async () => {
    const { cri: caller } = bed();
    const rotate = async (runtimeHandler: string) => {
      const pod = await caller.runPod(`log-${runtimeHandler}`, { runtimeHandler });
      const { mounts, open } = newGate(bed(), `log-${runtimeHandler}`);
      const id = await caller.runContainer(pod, 'main', counting, { mounts });
      const { logPath } = await caller.container(id);
      await until('lines', async () => (await caller.log(id)).length > 20);
      renameSync(logPath, `${logPath}.1`);
      await caller.runtime('ReopenContainerLog', { containerId: id });
      await until('lines in the new one', async () => (await caller.log(id)).length > 20);
      open();
      await caller.exited(id);
      const numbers = [`${logPath}.1`, logPath].flatMap((path) => readLog(path).map(({ text }) => Number(text)));
      assert.deepEqual(numbers, countedTo(numbers.length - 1));
      await caller.removePod(pod);
    };
    await Promise.all(handlers.map(rotate));
  });

  for (const how of ['stop', 'kill9'] as const) {
    test(`both go on when berthd is gone by ${how === 'stop' ? 'SIGTERM' : 'SIGKILL'}, and it learns what it missed`, async () => {
      const { cri: caller } = bed();
      const last = (await eventsAfter(bed(), 0n)).at(-1)?.sequence ?? 0n;
      const ending = ['sh', '-c', 'trap "echo bye; exit 6" TERM; echo up; while :; do sleep 0.05; done'];
      const made = await Promise.all(
        handlers.map(async (runtimeHandler) => {
          const pod = await caller.runPod(`${how}-${runtimeHandler}`, { runtimeHandler });
          const { mounts, open } = newGate(bed(), `${how}-${runtimeHandler}`);
          const writes = await caller.runContainer(pod, 'writes', counting, { mounts });
          const ends = await caller.runContainer(pod, 'ends', ending);
          const { pid } = await containerInfo(bed(), ends);
          const { logPath } = await caller.container(writes);
          return { runtimeHandler, pod, writes, open, ends, pid, logPath };
        }),
      );
      const linesIn = (path: string) => readLog(path).length;
      for (const { logPath, ends } of made) {
        await until('lines', () => linesIn(logPath) > 30);
        await until('its trap', async () => (await caller.output(ends)) === 'up\n');
      }
      await bed()[how]();
      for (const { logPath, pid } of made) {
        const atDeath = linesIn(logPath);
        process.kill(pid, 'SIGTERM');
        await until('the end of its process', () => hasEnded(pid));
        await until('more lines while nobody manages', () => linesIn(logPath) > atDeath + 30);
      }
      await bed().start();
      const events = async () => await eventsAfter(bed(), last);
      for (const { runtimeHandler, pod, writes, open, ends } of made) {
        const { exitCode, finishedAt } = await caller.exited(ends);
        assert.deepEqual([runtimeHandler, exitCode], [runtimeHandler, 6]);
        assert.ok(finishedAt > 0n);
        assert.equal(await caller.output(ends), 'up\nbye\n');
        open();
        assert.equal((await caller.exited(writes)).exitCode, 0);
        const numbers = (await caller.log(writes)).map(({ text }) => Number(text));
        assert.deepEqual(numbers, countedTo(numbers.length - 1), 'each line is there once, in order');
        for (const id of [writes, ends]) {
          const exits = (await events()).filter(({ what, containerId }) => what === 'exit' && containerId === id);
          assert.deepEqual([runtimeHandler, exits.length], [runtimeHandler, 1]);
        }
        const next = await caller.runContainer(pod, 'next', ['sh', '-c', 'echo next; exit 2']);
        assert.equal((await caller.exited(next)).exitCode, 2);
        assert.equal(await caller.output(next), 'next\n');
      }
      await Promise.all(made.map(({ pod }) => caller.removePod(pod)));
      const { items } = await caller.runtime('ListPodSandbox', {});
      assert.deepEqual(items, []);
    });
  }

  test('a shim of either that dies ends its own containers alone', async () => {
    const { cri: caller } = bed();
    for (const runtimeHandler of handlers) {
      const pod = await caller.runPod(`dies-${runtimeHandler}`, { runtimeHandler });
      const id = await caller.runContainer(pod, 'main', ['sleep', '3600']);
      const [{ shim }, { pid }] = await Promise.all([podInfo(bed(), pod), containerInfo(bed(), id)]);
      assert.ok(shim);
      process.kill(shim.pid, 'SIGKILL');
      assert.equal((await caller.exited(id)).exitCode, 137);
      await until('its process to end', () => hasEnded(pid));
      assert.equal((await caller.pod(pod)).state, cri.PodSandboxState.SANDBOX_NOTREADY);
      await caller.removePod(pod);
    }
  });
});

test('a pod runs with crun', async (t) => {
  const bed = await BerthdBed.open(t, { runtime: 'crun' });
  const pod = await bed.cri.runPod('crun');
  const id = await bed.cri.runContainer(pod, 'main', ['sh', '-c', 'echo hello; sleep 3600']);
  await until('its output', async () => (await bed.cri.output(id, 'stdout')) === 'hello\n');
  assert.equal((await bed.cri.exec(id, ['echo', 'well'])).stdout, 'well\n');
  await bed.kill9();
  await bed.start();
  await bed.cri.stopContainer(id, 30);
  assert.equal((await bed.cri.container(id)).exitCode, 143);
  await bed.cri.removePod(pod);
});
