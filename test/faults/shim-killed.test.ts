import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import { markedCgroups, markedProcesses } from '../support/leftovers.ts';
import { statOf } from '../support/process-tree.ts';
import { TestBed } from '../support/test-bed.ts';
import { until } from '../support/until.ts';

/** The shim that holds a container: the parent of its first process. */
function shimOf(pid: number): number {
  const stat = statOf(pid);
  if (stat === undefined) throw new Error(`process ${pid} is gone`);
  return stat.parent;
}

/** What there is of a container on the machine: processes in its cgroups, the cgroups, mounts below its bundle. */
function tracesOf(bed: TestBed, id: string): string[] {
  const processes = markedProcesses(bed.scratch)
    .filter(({ pid }) => existsSync(`/proc/${pid}`) && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/${id}\n`))
    .map(({ command }) => command);
  const cgroups = markedCgroups(bed.scratch).filter((path) => path.endsWith(`/${id}`));
  const mounts = bed.place.mountPoints().filter((path) => path.includes(`/${id}/`));
  const bundle = `${bed.containerd.bundles}/${id}`;
  return [...processes, ...cgroups, ...mounts, ...(existsSync(bundle) ? [bundle] : [])];
}

withEachRuntime('a shim is killed', (runtime) => {
  test('its container is ended and cleaned up and reported; others stay as they are', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.importImage();
    const events = await bed.events();
    await bed.runDetached({ id: 'victim', fromImage: true, command: ['sh', '-c', 'sleep 1000 & sleep 1000; true'] });
    await bed.execDetached('victim', 'inside', ['sleep', '2000']);
    await bed.runDetached({ id: 'bystander', command: ['sleep', '1000'] });
    const bystander = await bed.taskPid('bystander');
    const pid = await bed.taskPid('victim');
    assert.ok(tracesOf(bed, 'victim').length >= 6, tracesOf(bed, 'victim').join('\n'));

    process.kill(shimOf(pid), 'SIGKILL');
    const exit = await events.until('victim', 'exit');
    assert.equal(exit.fields['exit_status'], 137);
    await events.until('victim', 'delete');
    await until('all traces are gone', () => {
      const traces = tracesOf(bed, 'victim');
      if (traces.length > 0) throw new Error(traces.join('\n'));
      return true;
    });
    assert.equal(await bed.taskStatus('victim'), undefined);
    assert.equal(await bed.taskStatus('bystander'), 'RUNNING');
    assert.equal(await bed.taskPid('bystander'), bystander);
  });

  test('while containerd is dead too: cleaned up when it is back', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.importImage();
    await bed.runDetached({ id: 'victim', fromImage: true, command: ['sleep', '1000'] });
    const pid = await bed.taskPid('victim');
    await bed.containerd.kill();
    process.kill(shimOf(pid), 'SIGKILL');
    await bed.containerd.start();
    await until('all traces are gone', () => {
      const traces = tracesOf(bed, 'victim');
      if (traces.length > 0) throw new Error(traces.join('\n'));
      return true;
    });
    assert.equal(await bed.taskStatus('victim'), undefined);
  });

  test('after its container ended: cleaned up, and the same id may be used again', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    await bed.runDetached({ id: 'again', command: ['sh', '-c', 'until [ -e /go ]; do sleep 0.02; done'] });
    const shim = shimOf(await bed.taskPid('again'));
    await bed.ctrPrints('tasks', 'exec', '--exec-id', 'go', 'again', 'touch', '/go');
    await events.until('again', 'exit');
    process.kill(shim, 'SIGKILL');
    await events.until('again', 'delete');
    await until('the task is gone', async () => (await bed.taskStatus('again')) === undefined);
    await bed.ctrPrints('containers', 'delete', 'again');
    const result = await bed.ctr(bed.run({ id: 'again', flags: ['--rm'], command: ['echo', 'once more'] }));
    assert.deepEqual(result, { code: 0, stdout: 'once more\n', stderr: '' });
  });
});
