import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { childProcesses, readProcessStatus } from '../../../src/linux/index.ts';
import type { LoopEvent } from '../../../src/linux/index.ts';
import { native, until, Watcher } from './addon.ts';

const started: Watcher[] = [];

function watch(collects = true): Watcher {
  const watcher = new Watcher(native.createLoop(), collects);
  started.push(watcher);
  return watcher;
}

afterEach(async () => {
  for (const watcher of started.splice(0)) watcher.loop.stop();
  for (const pid of childProcesses()) {
    process.kill(pid, 'SIGKILL');
    await until(() => readProcessStatus(pid)?.state === 'Z');
    native.createLoop().collect(pid);
  }
});

function shell(script: string): number {
  return native.spawn({ file: '/bin/sh', argv: ['sh', '-c', script], env: ['PATH=/bin:/usr/bin'], fds: [-1, -1, 2] });
}

test('an exit has its code, its time, and no signal', async () => {
  const watcher = watch();
  const before = BigInt(Date.now()) * 1_000_000n;
  const exit = await watcher.exitOf(shell('exit 42'));
  assert.equal(exit.exitCode, 42);
  assert.equal(exit.signal, 0);
  assert.ok(exit.atNanoseconds >= before && exit.atNanoseconds <= BigInt(Date.now() + 1) * 1_000_000n);
});

test('a child that a signal ended has 128 and the signal', async () => {
  const watcher = watch();
  const exit = await watcher.exitOf(shell('kill -KILL $$'));
  assert.deepEqual([exit.exitCode, exit.signal], [137, 9]);
});

test('a child that stops and continues is not reported', async () => {
  const watcher = watch();
  const pid = shell('kill -STOP $$; exit 7');
  await until(() => readProcessStatus(pid)?.state === 'T');
  native.kill(pid, 18);
  assert.equal((await watcher.exitOf(pid)).exitCode, 7);
  assert.equal(watcher.events.length, 1);
});

test('the next exit is reported only after the last is collected', async () => {
  const watcher = watch(false);
  const pids = [shell('exit 1'), shell('exit 2'), shell('exit 3')];
  for (let count = 1; count <= pids.length; count++) {
    await until(() => watcher.events.length >= count);
    await sleep(30);
    assert.equal(watcher.events.length, count);
    watcher.loop.collect((watcher.events[count - 1] as LoopEvent & { kind: 'exit' }).pid);
  }
  assert.deepEqual(childProcesses(), []);
});

test('what was not collected is reported again after a stop and a start', async () => {
  const watcher = watch(false);
  const pid = shell('exit 9');
  await watcher.exitOf(pid);
  watcher.loop.stop();
  watcher.events.length = 0;
  watcher.start();
  assert.equal((await watcher.exitOf(pid)).exitCode, 9);
  watcher.loop.collect(pid);
});

test('a child that ended before the start is reported', async () => {
  const pid = shell('exit 5');
  await until(() => readProcessStatus(pid)?.state === 'Z');
  assert.equal((await watch().exitOf(pid)).exitCode, 5);
});

test('orphans that are re-parented to this process are reported too', async () => {
  native.setSubreaper();
  const watcher = watch();
  const pid = shell('(sleep 0.1; exit 3) & exit 0');
  await watcher.exitOf(pid);
  const orphan = await watcher.event((event) => event.kind === 'exit' && event.pid !== pid);
  assert.equal((orphan as { exitCode: number }).exitCode, 3);
});

test('a reaper that has no children sees the next one', async () => {
  const watcher = watch();
  for (const code of [1, 2, 3]) {
    await sleep(20);
    assert.equal((await watcher.exitOf(shell(`exit ${code}`))).exitCode, code);
  }
});

test('stop is prompt, whatever the reaper waits for', async () => {
  const watcher = watch(false);
  const pid = shell('exec sleep 60');
  const from = performance.now();
  for (let round = 0; round < 200; round++) {
    if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    watcher.loop.stop();
    watcher.start();
  }
  const perRound = (performance.now() - from) / 200;
  assert.ok(perRound < 200, `${perRound} ms each`);
  native.kill(pid, 9);
  await watcher.exitOf(pid);
  watcher.loop.stop();
  watcher.start();
  watcher.loop.stop();
  watcher.loop.collect(pid);
  watcher.start();
});

test('collect refuses what is no child, and what has not ended', () => {
  const loop = native.createLoop();
  const pid = shell('exec sleep 60');
  assert.throws(() => loop.collect(1), { code: 'ECHILD', syscall: 'waitid' });
  assert.throws(() => loop.collect(pid), { code: 'EAGAIN' });
  native.kill(pid, 9);
});

test('one loop a process: a second does not start', () => {
  watch();
  assert.throws(() => native.createLoop().start(() => undefined), { code: 'EBUSY' });
});
