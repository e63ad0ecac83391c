import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { events } from '../../../src/wire/index.ts';
import { processSpec } from '../../support/bundle.ts';
import { withEachRuntime } from '../../support/each-runtime.ts';
import { FifoWriter } from '../../support/fifo.ts';
import { ShimBed } from '../../support/shim-bed.ts';
import { ContainerCgroup } from './container-cgroup.ts';

const sigkill = 9;
const memoryLimitBytes = 32 * 1024 * 1024;
const namespaces = (['mount', 'pid', 'ipc', 'uts', 'network', 'cgroup'] as const).map((type) => ({ type }));
const mounts = [
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'rw'] },
];

/** As systemd in a container: it goes into a cgroup of its own and has controllers in those under the container's. */
const script = [
  'cd /sys/fs/cgroup',
  'mkdir init.scope work',
  'echo $$ >init.scope/cgroup.procs',
  'echo "+memory +pids" >cgroup.subtree_control',
  'echo ready',
  'read go',
  "sh -c 'echo $$ >work/cgroup.procs; tail /dev/zero'",
  'echo went on',
  'sleep 600; true',
].join('\n');

withEachRuntime('a container with cgroups of its own under its cgroup', (runtime) => {
  test('is seen whole: its processes, its OOM kills, its end', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const options = { memoryLimitBytes, namespaces, mounts };
    const { client, stdio, pid } = await bed.running('one', ['sh', '-c', script], options);
    const cgroup = new ContainerCgroup(bed, 'one');
    await stdio.output.waitFor('ready');
    assert.ok(existsSync(join(cgroup.path, 'work')));
    assert.deepEqual(await client.containerPids(), [pid]);

    await client.exec('e', processSpec({ args: ['sh', '-c', 'exit 5'] }));
    await client.startTask('e');
    assert.equal((await client.wait('e')).exitStatus, 5);
    await client.delete('e');

    using writer = await FifoWriter.open(stdio.stdin);
    writer.write('go\n');
    await stdio.output.waitFor('went on');
    await bed.sink.nextOf('/tasks/oom', events.TaskOOM);
    await client.kill(sigkill, { all: true });
    assert.equal((await client.wait()).exitStatus, 128 + sigkill);
    await client.delete();
    assert.ok(!cgroup.exists, 'its cgroups are still there');
  });
});
