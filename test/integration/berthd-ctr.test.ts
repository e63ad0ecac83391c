import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { cri } from '../../src/wire/index.ts';
import { containerInfo } from '../support/berthd-inside.ts';
import { EventLog } from '../support/events.ts';
import { Running } from '../support/running.ts';
import { sharedBed } from '../support/shared-bed.ts';
import { until } from '../support/until.ts';

const namespace = 'k8s.io';

/** Debian's command for containerd, which knows nothing of berthd. */
describe('ctr', () => {
  const bed = sharedBed();

  const argumentsOf = (args: readonly string[]) => ['--address', bed().socket, '--namespace', namespace, ...args];

  async function ctr(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await bed().command('ctr', argumentsOf(args));
    assert.equal(code, 0, `ctr ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** The rows of a table, each split at spaces, without its head. */
  const rows = (table: string) =>
    table
      .trim()
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/));

  test('learns the version, and the namespace that there is', async () => {
    assert.match(await ctr('version'), /Server:\n +Version: +\S+/);
    assert.match(await ctr('namespaces', 'list'), /k8s\.io/);
  });

  test('lists containers and tasks', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('listed');
    const [running, created] = await Promise.all([
      caller.runContainer(pod, 'running', ['sleep', '3600'], { labels: { app: 'web' } }),
      caller.createContainer(pod, 'created', ['true']),
    ]);
    const ended = await caller.runContainer(pod, 'ended', ['true']);
    await caller.exited(ended);
    const containers = rows(await ctr('containers', 'list'));
    assert.deepEqual(containers.map(([id]) => id).sort(), [running, created, ended].sort());
    assert.ok(containers.every(([, image]) => image === 'localhost/busybox:test'));
    assert.deepEqual((await ctr('containers', 'list', '--quiet', 'labels.app==web')).trim(), running);
    const { pid } = await containerInfo(bed(), running);
    const tasks = rows(await ctr('tasks', 'list')).filter(([id]) => id !== ended);
    assert.deepEqual(tasks, [[running, `${pid}`, 'RUNNING']]);
    const info = JSON.parse(await ctr('containers', 'info', running)) as { Spec: { process: { args: string[] } } };
    assert.deepEqual(info.Spec.process.args, ['sleep', '3600']);
    assert.match(await ctr('tasks', 'ps', running), new RegExp(`^${pid}\\b`, 'm'));
    assert.match(await ctr('tasks', 'metrics', running), /memory\.usage_in_bytes|memory\.usage/);
    await caller.removePod(pod);
    assert.equal((await ctr('containers', 'list', '--quiet')).trim(), '');
  });

  test('kills a task', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('killed');
    const script = 'trap "exit 7" USR1; echo up; while :; do sleep 0.05; done';
    const [one, two] = await Promise.all([
      caller.runContainer(pod, 'one', ['sh', '-c', script]),
      caller.runContainer(pod, 'two', ['sh', '-c', script]),
    ]);
    for (const id of [one, two]) await until('its trap', async () => (await caller.output(id)) === 'up\n');
    await ctr('tasks', 'kill', '--signal', 'SIGUSR1', one);
    await ctr('tasks', 'kill', '--signal', 'SIGKILL', two);
    assert.equal((await caller.exited(one)).exitCode, 7);
    assert.equal((await caller.exited(two)).exitCode, 137);
    const { code, stderr } = await bed().command('ctr', argumentsOf(['tasks', 'kill', '0'.repeat(64)]));
    assert.notEqual(code, 0);
    assert.match(stderr, /not found/);
    await caller.removePod(pod);
  });

  test('pauses a task, and lets it go on', async () => {
    const { cri: caller } = bed();
    const pod = await caller.runPod('paused');
    const id = await caller.runContainer(pod, 'main', ['sleep', '3600']);
    await ctr('tasks', 'pause', id);
    await ctr('tasks', 'resume', id);
    assert.equal((await caller.exec(id, ['echo', 'well'])).stdout, 'well\n');
    assert.equal((await caller.container(id)).state, cri.ContainerState.CONTAINER_RUNNING);
    await caller.removePod(pod);
  });

  test('streams what happens', async () => {
    const { cri: caller } = bed();
    const events = new Running(...bed().place.wrap('ctr', argumentsOf(['events'])));
    try {
      const provoke = async () => {
        await caller.removePod(await caller.runPod('provoked'));
      };
      const pod = await caller.runPod('events');
      const provoking = await caller.runContainer(pod, 'provoking', ['sleep', '3600']);
      const log = await EventLog.follow(events, async () => {
        await provoke();
        await caller.exec(provoking, ['true']);
      });
      const id = await caller.runContainer(pod, 'main', ['sh', '-c', 'exit 6']);
      const { fields } = await log.until(id, 'exit');
      assert.equal(fields['exit_status'], 6);
      await caller.removeContainer(id);
      await log.until(id, 'delete');
      assert.deepEqual(log.topicsOf(id), ['create', 'start', 'exit', 'delete']);
      await caller.removePod(pod);
    } finally {
      await events.kill();
    }
  });
});
