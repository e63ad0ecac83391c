import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NamespaceSpec, processSpec } from '../../support/bundle.ts';
import { withEachRuntime } from '../../support/each-runtime.ts';
import { FifoWriter } from '../../support/fifo.ts';
import { ShimBed } from '../../support/shim-bed.ts';
import { ContainerCgroup } from './container-cgroup.ts';

const sigkill = 9;

withEachRuntime('a container on cgroup v2', (runtime) => {
  test('runs in a cgroup of its own, tells its output and exit code, and leaves no cgroup', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const script = 'read go; echo out; echo err >&2; exit 7';
    const { client, stdio, pid } = await bed.running('one', ['sh', '-c', script]);
    const cgroup = new ContainerCgroup(bed, 'one');
    assert.deepEqual(cgroup.pids, [pid]);
    using writer = await FifoWriter.open(stdio.stdin);
    writer.write('go\n');
    assert.equal((await client.wait()).exitStatus, 7);
    assert.equal((await client.delete()).exitStatus, 7);
    assert.deepEqual([stdio.output.text, stdio.errors.text], ['out\n', 'err\n']);
    assert.ok(!cgroup.exists, 'its cgroup is still there');
  });

  test('is joined by what is executed in it', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, pid } = await bed.running('one', ['sleep', '600']);
    const cgroup = new ContainerCgroup(bed, 'one');
    const stdio = bed.stdio('e');
    await client.exec('e', processSpec({ args: ['sh', '-c', 'read go; echo inside; exit 5'] }), {
      stdin: stdio.stdin,
      stdout: stdio.stdout,
      stderr: stdio.stderr,
    });
    const execPid = await client.startTask('e');
    assert.deepEqual(cgroup.pids.sort(), [pid, execPid].sort());
    using writer = await FifoWriter.open(stdio.stdin);
    writer.write('go\n');
    assert.equal((await client.wait('e')).exitStatus, 5);
    await client.delete('e');
    assert.equal(stdio.output.text, 'inside\n');
    assert.deepEqual(cgroup.pids, [pid]);
  });

  test('names all its processes', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, pid } = await bed.running('one', ['sh', '-c', 'sleep 600 & sleep 600; true']);
    const cgroup = new ContainerCgroup(bed, 'one');
    await cgroup.untilItHas(3);
    const pids = await client.containerPids();
    assert.deepEqual(pids.sort(), cgroup.pids.sort());
    assert.ok(pids.includes(pid));
  });

  test('without a PID namespace of its own ends whole, by Kill of all and when its first process ends', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const namespaces: NamespaceSpec[] = [{ type: 'mount' }, { type: 'ipc' }, { type: 'uts' }, { type: 'network' }];
    const script = '(sleep 600 & sleep 600) & sleep 600 & read go; exit 3';
    for (const how of ['kill', 'exit'] as const) {
      const { client, stdio } = await bed.running(how, ['sh', '-c', script], { namespaces });
      const cgroup = new ContainerCgroup(bed, how);
      await cgroup.untilItHas(4);
      using writer = await FifoWriter.open(stdio.stdin);
      if (how === 'kill') await client.kill(sigkill, { all: true });
      else writer.write('go\n');
      assert.equal((await client.wait()).exitStatus, how === 'kill' ? 128 + sigkill : 3);
      await cgroup.untilItHas(0);
      await client.delete();
      assert.ok(!cgroup.exists, 'its cgroup is still there');
    }
  });
});
