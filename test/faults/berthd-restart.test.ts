import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { berth, cri } from '../../src/wire/index.ts';
import { containerInfo, eventsAfter, toldEvent } from '../support/berthd-inside.ts';
import { countedTo, counting, gated, newGate } from '../support/gate.ts';
import { berthdBinary } from '../support/paths.ts';
import { hasEnded } from '../support/process-tree.ts';
import { sharedBed } from '../support/shared-bed.ts';
import { until } from '../support/until.ts';

const { CONTAINER_RUNNING, CONTAINER_EXITED } = cri.ContainerState;
const shutdownSeconds = 5;
const mebibyte = 1024 * 1024;

const milliseconds = (nanoseconds: bigint | undefined) => Number((nanoseconds ?? 0n) / 1_000_000n);

describe('when berthd is not there', () => {
  const bed = sharedBed({ config: `[limits]\nshutdown_seconds = ${shutdownSeconds}\n` });

  beforeEach(async () => {
    if (bed().daemon.pid === undefined) await bed().start();
  });

  const pidOf = async (id: string) => (await containerInfo(bed(), id)).pid;
  const numbersIn = async (id: string) => (await bed().cri.log(id)).map(({ text }) => Number(text));
  const lastSequence = async () => (await eventsAfter(bed(), 0n)).at(-1)?.sequence ?? 0n;
  const exitsOf = async (id: string, after: bigint) =>
    (await eventsAfter(bed(), after)).filter(({ what, containerId }) => what === 'exit' && containerId === id);

  /** What a subscriber learns first that has seen all up to that number. */
  const nextExit = async (after: bigint) => {
    const request = { afterSequence: after };
    for await (const event of bed().client.stream(berth.Events, 'Subscribe', request, { timeoutMs: 5000 })) {
      if (event.topic === '/tasks/exit') return toldEvent(event);
    }
    throw new Error('the subscription has ended');
  };

  for (const how of ['stop', 'kill9'] as const) {
    const gone = how === 'stop' ? 'stopped by SIGTERM' : 'killed';

    test(`for it was ${gone}, containers go on, and not a line of their logs is lost`, async () => {
      const { cri: caller } = bed();
      const pod = await caller.runPod(how);
      const { mounts, open } = newGate(bed(), how);
      const id = await caller.runContainer(pod, 'writes', counting, { mounts });
      const { logPath } = await caller.container(id);
      const pid = await pidOf(id);
      const linesNow = () => readFileSync(logPath, 'utf8').split('\n').length - 1;
      await until('lines', () => linesNow() > 30);
      await bed()[how]();
      const atDeath = linesNow();
      assert.doesNotMatch(bed().daemon.log(), /shim of a pod is gone/);
      await until('more lines while nobody manages', () => linesNow() > atDeath + 60);
      assert.ok(!hasEnded(pid));
      await bed().start();
      const { state, startedAt } = await caller.container(id);
      assert.equal(state, CONTAINER_RUNNING);
      assert.ok(startedAt > 0n);
      assert.equal(await pidOf(id), pid);
      assert.equal((await caller.pod(pod)).state, cri.PodSandboxState.SANDBOX_READY);
      assert.equal((await caller.exec(id, ['echo', 'here'])).stdout, 'here\n');
      open();
      assert.equal((await caller.exited(id)).exitCode, 0);
      const numbers = await numbersIn(id);
      assert.deepEqual(numbers, countedTo(numbers.length - 1));
      await caller.removePod(pod);
    });
  }

  test('an exit is told once when it is back, with its own time and code, to subscribers that were away too', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('exits');
    const { mounts, open } = newGate(bed(), 'ends');
    const id = await caller.runContainer(pod, 'ends', gated('echo bye; exit 9'), { mounts });
    const pid = await pidOf(id);
    const before = await lastSequence();
    await bed().kill9();
    const earliest = Date.now();
    open();
    await until('the end of its process', () => hasEnded(pid));
    await sleep(800); // its shim has seen it by then, and a time that berthd made up would be another one
    const restarting = Date.now();
    await bed().start();
    assert.equal((await nextExit(before)).containerId, id);
    const { exitCode, finishedAt, reason } = await caller.exited(id);
    assert.deepEqual([exitCode, reason], [9, 'Error']);
    const at = milliseconds(finishedAt);
    assert.ok(at >= earliest - 1 && at <= restarting, `it ended at ${at}, from ${earliest} to ${restarting}`);
    assert.equal(await caller.output(id), 'bye\n');
    const [exit, ...others] = await exitsOf(id, before);
    assert.deepEqual(others, []);
    assert.deepEqual([exit?.exitStatus, exit?.exitedAt], [9, finishedAt]);

    await bed().kill9();
    await bed().start();
    assert.equal((await exitsOf(id, before)).length, 1, 'what was told is not told again');
    assert.deepEqual(await exitsOf(id, exit?.sequence ?? 0n), []);
    assert.equal((await caller.container(id)).finishedAt, finishedAt);
    await caller.removePod(pod);
  });

  test('a container that the kernel kills for its memory is OOMKilled when it is back', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('oom');
    const resources = { memoryLimitInBytes: BigInt(24 * mebibyte) };
    const { mounts, open } = newGate(bed(), 'grows');
    const id = await caller.runContainer(pod, 'grows', gated('exec tail /dev/zero'), { mounts, linux: { resources } });
    const pid = await pidOf(id);
    const before = await lastSequence();
    await bed().kill9();
    open();
    await until('the end of its process', () => hasEnded(pid));
    await bed().start();
    const { exitCode, reason } = await caller.exited(id);
    assert.deepEqual([exitCode, reason], [137, 'OOMKilled']);
    const told = (await eventsAfter(bed(), before)).filter(({ containerId }) => containerId === id);
    assert.deepEqual(
      told.map(({ what }) => what).filter((what) => what !== 'delete'),
      ['oom', 'exit'],
    );
    await caller.removePod(pod);
  });

  test('a stop that was under way is finished by the next one, and its grace is not begun anew', async () => {
    const { cri: caller } = bed();
    const refusing = ['sh', '-c', 'trap "echo asked" TERM; echo up; while :; do sleep 0.05; done'];
    const pod = await caller.runPod('stop');
    const [soon, late] = await Promise.all([
      caller.runContainer(pod, 'soon', refusing),
      caller.runContainer(pod, 'late', refusing),
    ]);
    for (const id of [soon, late]) await until('its trap', async () => (await caller.output(id)) === 'up\n');
    const asked = Date.now();
    const calls = [caller.stopContainer(soon, 3), caller.stopContainer(late, 10)];
    const answers = Promise.allSettled(calls);
    for (const id of [soon, late]) {
      await until('its signal', async () => (await caller.output(id)) === 'up\nasked\n');
    }
    await bed().kill9();
    assert.ok((await answers).every(({ status }) => status === 'rejected'));
    await sleep(Math.max(0, asked + 4000 - Date.now()));
    const restarting = Date.now();
    await bed().start();
    assert.ok(Date.now() - asked < 9000, 'the test is no test when the start takes so long');
    const first = await caller.exited(soon, 5000);
    assert.equal(first.exitCode, 137, 'one whose time was up meanwhile is killed at once');
    assert.equal((await caller.container(late)).state, CONTAINER_RUNNING);
    const second = await caller.exited(late, 20_000);
    assert.equal(second.exitCode, 137);
    const at = milliseconds(second.finishedAt);
    assert.ok(at - asked >= 9990, `it was killed after ${at - asked} ms, where 10 s were asked for`);
    assert.ok(
      at - restarting < 9990,
      `it was killed ${at - restarting} ms after the restart: its 10 s were begun anew`,
    );
    assert.equal(await caller.output(late), 'up\nasked\n', 'it is not asked twice');
    await caller.removePod(pod);
  });

  test('one that is told to end lets calls end, and those that do not are taken up again', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('calls');
    const refusing = ['sh', '-c', 'trap "" TERM; echo up; while :; do sleep 0.05; done'];
    const id = await caller.runContainer(pod, 'main', refusing);
    await until('its trap', async () => (await caller.output(id)) === 'up\n');
    const short = caller.exec(id, ['sh', '-c', 'echo begun > /begun; sleep 1; echo done'], 0);
    const asked = Date.now();
    const long = assert.rejects(caller.stopContainer(id, 15));
    await until('the command', async () => (await caller.exec(id, ['cat', '/begun'])).exitCode === 0);
    const from = performance.now();
    await bed().stop();
    const ms = performance.now() - from;
    assert.ok(ms >= 1000 && ms < shutdownSeconds * 1000 + 10_000, `it ended after ${ms} ms`);
    assert.equal((await short).stdout, 'done\n');
    await long;
    const restarting = Date.now();
    await bed().start();
    const { exitCode, finishedAt } = await caller.exited(id, 30_000);
    assert.equal(exitCode, 137);
    const at = milliseconds(finishedAt);
    assert.ok(at - asked >= 14_990, `it was killed after ${at - asked} ms, where 15 s were asked for`);
    assert.ok(
      at - restarting < 14_990,
      `it was killed ${at - restarting} ms after the restart: its 15 s were begun anew`,
    );
    await caller.removePod(pod);
  });

  test('a command that ExecSync was running ends when the next one is there', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('exec');
    const id = await caller.runContainer(pod, 'main', ['sleep', '3600']);
    const call = caller.exec(id, ['sh', '-c', 'echo $$ > /pid; exec sleep 3600'], 0);
    const answer = assert.rejects(call);
    await until('the command', async () => (await caller.exec(id, ['cat', '/pid'])).exitCode === 0);
    await bed().kill9();
    await answer;
    await bed().start();
    const goneScript = 'kill -0 $(cat /pid)';
    await until('its end', async () => (await caller.exec(id, ['sh', '-c', goneScript])).exitCode !== 0);
    await caller.removePod(pod);
  });

  test('a shim that waited for a pod goes when the next one is there', async () => {
    const folder = bed().path('run/sandboxes');
    const [id = '', ...others] = await until('a shim in the pool', () => {
      const ids = readdirSync(folder);
      return ids.length === 1 && readFileSync(`${folder}/${ids[0]}/shim-info.json`, 'utf8').includes('unix://') && ids;
    });
    assert.deepEqual(others, []);
    const info = JSON.parse(readFileSync(`${folder}/${id}/shim-info.json`, 'utf8')) as { pid: number; id: string };
    assert.equal(info.id, id);
    await bed().kill9();
    assert.ok(!hasEnded(info.pid));
    await bed().start();
    await until('its end', () => hasEnded(info.pid) && !readdirSync(folder).includes(id));
  });

  test('another one takes its place; and while it is there, another one is refused with its pid', async () => {
    const flags = ['root', 'state'].map((name) => `--${name}=${bed().path(name === 'state' ? 'run' : name)}`);
    const socket = `--socket=${bed().path('other.sock')}`;
    const { code, stderr, stdout } = await bed().command(berthdBinary, [...flags, socket], {
      deadlineMilliseconds: 10_000,
    });
    assert.notEqual(code, 0);
    assert.match(stderr + stdout, new RegExp(`pid ${bed().daemon.pid}\\b`));
    await bed().cri.runtime('Version', {});
    await bed().kill9();
    await bed().start();
    await bed().cri.runtime('Version', {});
  });

  test('a container that is only created is still there to be started', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('created');
    const id = await caller.createContainer(pod, 'main', ['sh', '-c', 'echo hello']);
    await bed().kill9();
    await bed().start();
    await caller.startContainer(id);
    assert.equal((await caller.exited(id)).exitCode, 0);
    assert.equal(await caller.output(id), 'hello\n');
    assert.equal((await caller.container(id)).state, CONTAINER_EXITED);
    await caller.removePod(pod);
  });
});
