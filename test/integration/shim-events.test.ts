import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { events, fromTimestamp, unpackAny } from '../../src/wire/index.ts';
import { processSpec } from '../support/bundle.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { EventsSink } from '../support/events-sink.ts';
import { ShimBed } from '../support/shim-bed.ts';
import { until } from '../support/until.ts';

const sigkill = 9;
const whole = ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'];

describe("a shim's events", () => {
  test('come in the order in which things happen, each once', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, pid } = await bed.running('one', ['sleep', '600']);
    await client.exec('e', processSpec({ args: ['sh', '-c', 'exit 5'] }));
    const execPid = await client.startTask('e');
    await client.wait('e');
    await client.delete('e');
    await client.task('Pause', { id: 'one' });
    await client.task('Resume', { id: 'one' });
    await client.kill(sigkill);
    const { exitedAt } = await client.wait();
    await client.delete();
    await bed.sink.nextOf('/tasks/delete', events.TaskDelete);
    assert.deepEqual(bed.sink.topics('one'), [
      '/tasks/create',
      '/tasks/start',
      '/tasks/exec-added',
      '/tasks/exec-started',
      '/tasks/exit',
      '/tasks/paused',
      '/tasks/resumed',
      '/tasks/exit',
      '/tasks/delete',
    ]);
    const create = await bed.sink.nextOf('/tasks/create', events.TaskCreate);
    assert.deepEqual([create.bundle, create.pid], [client.options.bundle, pid]);
    const execExit = await bed.sink.nextOf('/tasks/exit', events.TaskExit, ({ id }) => id === 'e');
    assert.deepEqual([execExit.containerId, execExit.pid, execExit.exitStatus], ['one', execPid, 5]);
    const exit = await bed.sink.nextOf('/tasks/exit', events.TaskExit, ({ id }) => id === 'one');
    assert.deepEqual([exit.pid, exit.exitStatus], [pid, 128 + sigkill]);
    assert.equal(fromTimestamp(exit.exitedAt), fromTimestamp(exitedAt));
    assert.ok(bed.sink.received.every(({ namespace }) => namespace === bed.scratch.mark));
  });

  test('tell of the start of an exec before its end, however short it is', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    const execIds = Array.from({ length: 20 }, (_, n) => `e${n}`);
    await Promise.all(
      execIds.map(async (execId) => {
        await client.exec(execId, processSpec({ args: ['true'] }));
        await client.startTask(execId);
        await client.wait(execId);
      }),
    );
    await until(
      'all exits',
      () => bed.sink.topics('one').filter((topic) => topic === '/tasks/exit').length === execIds.length,
    );
    for (const execId of execIds) {
      const at = (topic: string, matches: (event: { execId?: string; id?: string }) => boolean) =>
        bed.sink.received.findIndex((event) => {
          if (event.topic !== topic) return false;
          const codec = topic === '/tasks/exit' ? events.TaskExit : events.TaskExecStarted;
          return matches(unpackAny(codec as typeof events.TaskExit, event.payload));
        });
      const started = at('/tasks/exec-started', (event) => event.execId === execId);
      const exited = at('/tasks/exit', (event) => event.id === execId);
      assert.ok(started >= 0 && started < exited, `${execId}: started ${started}, exited ${exited}`);
    }
  });

  test('wait for a receiver that is away, and then come in order, each once', async (t) => {
    const bed = await ShimBed.open(t);
    await bed.sink.close();
    const { client } = await bed.running('one', ['sh', '-c', 'exit 42']);
    const { exitStatus, exitedAt } = await client.wait();
    assert.equal(exitStatus, 42);
    await client.delete();
    assert.equal((await client.berth('Info', {})).pendingEvents, whole.length);

    bed.sink = await EventsSink.listen(bed.sink.path);
    await bed.sink.nextOf('/tasks/delete', events.TaskDelete);
    assert.deepEqual(bed.sink.topics('one'), whole);
    const exit = await bed.sink.nextOf('/tasks/exit', events.TaskExit);
    assert.deepEqual([exit.exitStatus, fromTimestamp(exit.exitedAt)], [42, fromTimestamp(exitedAt)]);
    await until('nothing to be pending', async () => (await client.berth('Info', {})).pendingEvents === 0);
  });

  test('are sent again to a receiver that could not take them', async (t) => {
    const bed = await ShimBed.open(t);
    bed.sink.refusal = 'the store is full';
    const { client } = await bed.running('one', ['true']);
    await client.wait();
    await client.delete();
    assert.deepEqual(bed.sink.received, []);
    bed.sink.refusal = undefined;
    await bed.sink.nextOf('/tasks/delete', events.TaskDelete);
    assert.deepEqual(bed.sink.topics('one'), whole);
  });

  test('of one container do not wait for the output of another', async (t) => {
    const bed = await ShimBed.open(t);
    const blocked = await bed.shim('blocked', ['sh', '-c', 'yes | head -c 4000000; sleep 600']);
    const stdio = bed.stdio('blocked');
    stdio.output.pause();
    await bed.create(blocked, { stdout: stdio.stdout, stderr: stdio.stderr });
    await blocked.startTask();
    await blocked.exec('quick', processSpec({ args: ['true'] }));
    await blocked.startTask('quick');
    await bed.sink.nextOf('/tasks/exit', events.TaskExit, ({ id }) => id === 'quick');
  });
});

withEachRuntime('running out of memory', (runtime) => {
  const memoryLimitBytes = 32 * 1024 * 1024;

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

  test('of a child is told while the container runs on', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client } = await bed.running('parent', ['sh', '-c', 'tail /dev/zero; sleep 600'], { memoryLimitBytes });
    await bed.sink.nextOf('/tasks/oom', events.TaskOOM, ({ containerId }) => containerId === 'parent');
    assert.equal((await client.state()).exitStatus, 0);
  });

  test('is not told of a container that SIGKILL ended', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client } = await bed.running('one', ['sleep', '600'], { memoryLimitBytes });
    await client.kill(sigkill);
    await client.wait();
    await client.delete();
    await bed.sink.nextOf('/tasks/delete', events.TaskDelete);
    assert.deepEqual(bed.sink.topics('one'), whole);
  });
});
