import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { events } from '../../src/wire/index.ts';
import { AttachClient } from '../support/attach-client.ts';
import { processSpec, sandboxIdAnnotation } from '../support/bundle.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { FifoWriter } from '../support/fifo.ts';
import { hasEnded, isAsleep, privateMemoryBytes, processTree } from '../support/process-tree.ts';
import { ShimBed } from '../support/shim-bed.ts';
import type { ShimClient } from '../support/shim-client.ts';
import { until } from '../support/until.ts';

const sigkill = 9;
const env = { BERTH_SLEEP_AFTER_SECONDS: '1' };
const maxSleepingBytes = 256 * 1024;

async function fallAsleep(client: ShimClient): Promise<number> {
  const shim = await client.shimPid();
  await until('the shim to sleep', () => isAsleep(shim), 15_000);
  return shim;
}

withEachRuntime('a shim that has nothing to do', (runtime) => {
  test('sleeps in very little memory, and answers the next call on the same connection', async (t) => {
    const bed = await ShimBed.open(t, { runtime, env });
    const { client, pid } = await bed.running('one', ['sleep', '600']);
    const waiting = client.wait();
    const shim = await fallAsleep(client);
    const bytes = processTree(shim, new Set([pid])).reduce((sum, one) => sum + privateMemoryBytes(one), 0);
    t.diagnostic(`${bytes / 1024} KiB of private memory asleep`);
    assert.ok(bytes <= maxSleepingBytes, `${bytes} bytes`);
    assert.equal((await client.state()).pid, pid);
    const info = await client.berth('Info', {});
    assert.deepEqual([info.pid, info.woken >= 1], [shim, true]);
    await client.kill(sigkill);
    assert.equal((await waiting).exitStatus, 128 + sigkill);
  });

  test('wakes for an exit, tells it, and answers who waits', async (t) => {
    const bed = await ShimBed.open(t, { runtime, env });
    const { client, stdio } = await bed.running('one', ['sh', '-c', 'read go; echo went; exit 21']);
    const waiting = client.wait();
    using writer = await FifoWriter.open(stdio.stdin);
    const shim = await fallAsleep(client);
    writer.write('go\n');
    assert.equal((await waiting).exitStatus, 21);
    assert.equal((await bed.sink.nextOf('/tasks/exit', events.TaskExit)).exitStatus, 21);
    assert.equal(stdio.output.text, 'went\n');
    assert.equal(await client.shimPid(), shim);
  });

  test('moves output and input in its sleep', async (t) => {
    const bed = await ShimBed.open(t, { runtime, env });
    const { client, stdio } = await bed.running('one', ['sh', '-c', 'while read line; do echo "heard $line"; done']);
    using writer = await FifoWriter.open(stdio.stdin);
    using attached = await AttachClient.attach(client, { stdin: true, stdout: true });
    const shim = await fallAsleep(client);
    writer.write('in its sleep\n');
    await stdio.output.waitFor('heard in its sleep\n');
    attached.write('from a client\n');
    await attached.waitFor('heard from a client\n');
    await stdio.output.waitFor('heard from a client\n');
    assert.ok(isAsleep(shim), 'it woke for a few bytes');
  });

  test('wakes for running out of memory', async (t) => {
    const bed = await ShimBed.open(t, { runtime, env });
    const script = 'read go; tail /dev/zero; sleep 600';
    const { client, stdio } = await bed.running('one', ['sh', '-c', script], { memoryLimitBytes: 32 * 1024 * 1024 });
    using writer = await FifoWriter.open(stdio.stdin);
    const shim = await fallAsleep(client);
    writer.write('go\n');
    await bed.sink.nextOf('/tasks/oom', events.TaskOOM);
    await until('it to sleep again, once the event was taken', () => isAsleep(shim), 15_000);
  });
});

describe('a sleeping shim', () => {
  test('wakes again and again, for every kind of call', async (t) => {
    const bed = await ShimBed.open(t, { env });
    const { client, pid } = await bed.running('one', ['sleep', '600']);
    await fallAsleep(client);
    await client.exec('e', processSpec({ args: ['sh', '-c', 'exit 4'] }));
    await client.startTask('e');
    assert.equal((await client.wait('e')).exitStatus, 4);
    await client.delete('e');
    const shim = await fallAsleep(client);
    const other = await client.connectAgain();
    assert.equal((await other.state()).pid, pid);
    other.disconnect();
    await until('it to sleep again', () => isAsleep(shim), 15_000);
    await client.berth('Upgrade', {});
    assert.equal((await client.state()).pid, pid);
  });

  test('starts a container that joins its sandbox', async (t) => {
    const bed = await ShimBed.open(t, { env });
    const annotations = { [sandboxIdAnnotation]: 'pod' };
    const pod = await bed.running('pod', ['sleep', '600'], { annotations });
    const shim = await fallAsleep(pod.client);
    const member = await bed.running('member', ['sh', '-c', 'exit 8'], { annotations });
    assert.equal((await member.client.wait()).exitStatus, 8);
    assert.equal(await member.client.shimPid(), shim);
  });

  test('does not lose an event that nobody takes', async (t) => {
    const bed = await ShimBed.open(t, { env });
    const { client } = await bed.running('one', ['sh', '-c', 'sleep 2; exit 17']);
    const waiting = client.wait();
    await fallAsleep(client);
    bed.sink.refusal = 'not now';
    assert.equal((await waiting).exitStatus, 17);
    await sleep(500);
    bed.sink.refusal = undefined;
    assert.equal((await bed.sink.nextOf('/tasks/exit', events.TaskExit)).exitStatus, 17);
  });

  test('ends when it is told to, and when its container goes', async (t) => {
    const bed = await ShimBed.open(t, { env });
    const { client } = await bed.running('one', ['sleep', '600']);
    const shim = await fallAsleep(client);
    await client.kill(sigkill);
    await client.wait();
    await client.delete();
    await client.shutdown();
    await until('it to end', () => hasEnded(shim));
  });
});
