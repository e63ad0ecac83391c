import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { events } from '../../src/wire/index.ts';
import { AttachClient } from '../support/attach-client.ts';
import { processSpec } from '../support/bundle.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { FifoWriter } from '../support/fifo.ts';
import { hasEnded } from '../support/process-tree.ts';
import { ShimBed } from '../support/shim-bed.ts';
import type { ShimClient } from '../support/shim-client.ts';
import { until } from '../support/until.ts';

const upgradesOf = async (client: ShimClient) => (await client.berth('Info', {})).upgrades;

/** By the call, which the new version answers, or by the signal. */
async function upgrade(client: ShimClient, by: 'call' | 'signal'): Promise<void> {
  if (by === 'call') {
    await client.berth('Upgrade', {});
    return;
  }
  const before = await upgradesOf(client);
  process.kill(await client.shimPid(), 'SIGUSR2');
  await until('the upgrade', async () => (await upgradesOf(client)) > before);
}

/** Fails unless the text is the numbers from 1 on, a line for each; gives how many. */
function countUp(text: string): number {
  const lines = text.split('\n').slice(0, -1);
  lines.forEach((line, n) => assert.equal(line, String(n + 1), `line ${n + 1}`));
  return lines.length;
}

withEachRuntime('an upgrade in place', (runtime) => {
  test('is noticed by nobody: same pid, same connection, same container', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, stdio, pid } = await bed.running('one', [
      'sh',
      '-c',
      'while read line; do echo "heard $line"; done; exit 6',
    ]);
    using attached = await AttachClient.attach(client, { stdin: true, stdout: true });
    using writer = await FifoWriter.open(stdio.stdin);
    const shim = await client.shimPid();
    const waiting = client.wait();
    for (const by of ['call', 'signal'] as const) {
      await upgrade(client, by);
      writer.write(`a writer after ${by}\n`);
      attached.write(`an attached client after ${by}\n`);
      for (const who of ['a writer', 'an attached client']) {
        await stdio.output.waitFor(`heard ${who} after ${by}\n`);
        await attached.waitFor(`heard ${who} after ${by}\n`);
      }
      assert.ok(client.client.isOpen);
      assert.equal((await client.state()).pid, pid);
    }
    const info = await client.berth('Info', {});
    assert.deepEqual([info.pid, info.upgrades], [shim, 2]);
    await client.task('CloseIO', { id: 'one', stdin: true });
    assert.equal((await waiting).exitStatus, 6);
    assert.equal((await bed.sink.nextOf('/tasks/exit', events.TaskExit)).exitStatus, 6);
  });

  test('under load, up to 100 times: not one byte, exit or reply is lost', { timeout: 85_000 }, async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const count =
      'i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo $i; [ $((i % 50)) = 0 ] && sleep 0.005; done; exit 33';
    const { client, stdio } = await bed.running('one', ['sh', '-c', count]);
    using attached = await AttachClient.attach(client, { stdout: true });
    const waiting = client.wait();
    const shim = await client.shimPid();

    let isOver = false;
    let execs = 0;
    const replies: Record<string, number> = {};
    const execLoop = async (loop: number): Promise<void> => {
      const other = await client.connectAgain();
      for (let n = 0; !isOver; n++) {
        const execId = `e-${loop}-${n}`;
        const status = n % 200;
        const { stdout, stderr, output, errors } = bed.stdio(execId);
        await other.exec(execId, processSpec({ args: ['sh', '-c', `seq 1 500; exit ${status}`] }), { stdout, stderr });
        await other.startTask(execId);
        const ended = await other.wait(execId);
        const deleted = await other.delete(execId);
        await output.ended;
        errors.close();
        assert.equal(ended.exitStatus, status, execId);
        assert.equal(deleted.exitStatus, status, execId);
        assert.equal(countUp(output.text), 500, execId);
        replies[execId] = status;
        execs++;
      }
      other.disconnect();
    };
    const load = [execLoop(0), execLoop(1)];
    let upgrades = 0;
    const began = performance.now();
    // A slow machine has less to do.
    const goesOn = () => upgrades < 100 && (upgrades < 30 || performance.now() < began + 50_000);
    try {
      for (; goesOn(); upgrades++) await upgrade(client, upgrades % 4 === 3 ? 'signal' : 'call');
    } finally {
      isOver = true;
      await Promise.all(load);
    }
    t.diagnostic(`${upgrades} upgrades, ${execs} execs`);
    assert.ok(execs >= 20, `only ${execs} execs in the meantime`);
    const info = await client.berth('Info', {});
    assert.equal(info.pid, shim);
    assert.ok(info.upgrades >= upgrades);

    await client.exec('stop', processSpec({ args: ['touch', '/tmp/stop'] }));
    await client.startTask('stop');
    assert.equal((await waiting).exitStatus, 33);
    await client.delete();
    await stdio.output.ended;
    await attached.ended;
    const lines = countUp(stdio.output.text);
    t.diagnostic(`${lines} lines of output`);
    const [first = ''] = attached.stdout.split('\n');
    assert.ok(stdio.output.text.endsWith(attached.stdout.slice(first.length + 1)), 'the attached client missed some');

    await bed.sink.nextOf('/tasks/delete', events.TaskDelete);
    const sequences = bed.sink.received.map(({ sequence }) => sequence ?? 0);
    const twice = bed.sink.received.filter(({ sequence }, n) => sequences.indexOf(sequence ?? 0) !== n);
    assert.deepEqual(
      twice.map(({ sequence, topic }) => `${sequence ?? ''} ${topic}`),
      [],
      'events that were told twice',
    );
    const exits = bed.sink.received.filter(({ topic }) => topic === '/tasks/exit').length;
    assert.equal(exits, execs + 2, 'exits that were told');
    assert.equal(bed.sink.topics('one').filter((topic) => topic === '/tasks/exec-started').length, execs + 1);
    assert.ok(!hasEnded(shim));
  });
});

describe('an upgrade', () => {
  test('keeps events that nobody has taken yet', async (t) => {
    const bed = await ShimBed.open(t);
    bed.sink.refusal = 'not now';
    const { client } = await bed.running('one', ['sh', '-c', 'exit 12']);
    await client.wait();
    await upgrade(client, 'call');
    await client.delete();
    bed.sink.refusal = undefined;
    await bed.sink.nextOf('/tasks/delete', events.TaskDelete);
    assert.deepEqual(bed.sink.topics('one'), ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete']);
  });

  test('loses no exit that happens meanwhile', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    for (let n = 0; n < 10; n++) {
      const execId = `e${n}`;
      await client.exec(execId, processSpec({ args: ['sh', '-c', `sleep 0.0${n}; exit ${n}`] }));
      await client.startTask(execId);
      await upgrade(client, 'call');
      assert.equal((await client.wait(execId)).exitStatus, n);
    }
  });
});
