import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { digestOf, writeRandomFile } from '../support/bulk-data.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { FifoReader } from '../support/fifo.ts';
import { markedProcesses } from '../support/leftovers.ts';
import { hasEnded, isAsleep, statOf } from '../support/process-tree.ts';
import { TestBed } from '../support/test-bed.ts';
import { until } from '../support/until.ts';

const bulkBytes = 50 * 1024 * 1024;
/** How long an event may take to be sent again once containerd is back. */
const redeliveryMilliseconds = 15_000;

/** A shell command that waits for a file in the root file system, which the test writes, and then does something. */
const when = (file: string, command: string) => ['sh', '-c', `until [ -e /${file} ]; do sleep 0.02; done; ${command}`];
const say = (bed: TestBed, file: string) => writeFileSync(bed.path('rootfs', file), '');

/** How many exits containerd has been told of, by what it logs at each event, subscribed to or not. */
function toldExits(bed: TestBed): number {
  return bed.containerd.log().match(/msg="event forwarded".* topic=\/tasks\/exit /g)?.length ?? 0;
}

withEachRuntime('containerd is killed and started again', (runtime) => {
  test('every task is there in its right state and obeys', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'running', command: ['sleep', '1000'] });
    await bed.runDetached({ id: 'paused', command: ['sleep', '1000'] });
    await bed.ctrPrints('tasks', 'pause', 'paused');
    await bed.runDetached({ id: 'ended-before', command: ['sh', '-c', 'exit 3'] });
    await bed.runDetached({ id: 'ends-meanwhile', command: when('go', 'exit 4') });
    const pid = await bed.taskPid('running');
    const ends = await bed.taskPid('ends-meanwhile');
    await until('the short one ends', async () => (await bed.taskStatus('ended-before')) === 'STOPPED');

    await bed.containerd.kill();
    say(bed, 'go');
    await until('the other one ends', () => hasEnded(ends));
    await bed.containerd.start();
    await until('its end is known', async () => (await bed.taskStatus('ends-meanwhile')) === 'STOPPED');

    const states = await Promise.all(
      ['running', 'paused', 'ended-before', 'ends-meanwhile'].map((id) => bed.taskStatus(id)),
    );
    assert.deepEqual(states, ['RUNNING', 'PAUSED', 'STOPPED', 'STOPPED']);
    assert.equal(await bed.taskPid('running'), pid);
    const exec = await bed.ctr(['tasks', 'exec', '--exec-id', 'after', 'running', 'sh', '-c', 'echo alive; exit 5']);
    assert.deepEqual(exec, { code: 5, stdout: 'alive\n', stderr: '' });
    await bed.ctrPrints('tasks', 'resume', 'paused');
    assert.equal(await bed.taskStatus('paused'), 'RUNNING');
    assert.match((await bed.ctr(['tasks', 'delete', 'ended-before'])).stderr, /exit code 3/);
    assert.match((await bed.ctr(['tasks', 'delete', 'ends-meanwhile'])).stderr, /exit code 4/);
  });

  test('exits that happened meanwhile are reported once, with the right code and time', async (t) => {
    // A shim that sleeps sees an exit only when it has woken.
    const bed = await TestBed.open(t, { runtime, environment: { BERTH_SLEEP_AFTER_SECONDS: '0' } });
    const codes = { zero: 0, 'forty-two': 42, last: 255 };
    for (const [id, code] of Object.entries(codes)) await bed.runDetached({ id, command: when('go', `exit ${code}`) });
    await bed.runDetached({ id: 'killed', command: ['sleep', '1000'] });
    const victim = await bed.taskPid('killed');
    const expected = { ...codes, killed: 137 };

    await bed.containerd.kill();
    const before = Date.now();
    say(bed, 'go');
    process.kill(victim, 'SIGKILL');
    await until(
      'all of them end',
      () => !markedProcesses(bed.scratch).some(({ command }) => /^(sleep|sh) /.test(command)),
    );
    await sleep(1000); // the shims have seen it by then, and a time made up at the restart would be another one
    assert.equal(toldExits(bed), 0);

    const restarting = Date.now();
    await bed.containerd.start();
    await until('containerd is told of each exit', () => toldExits(bed) >= 4, redeliveryMilliseconds);
    // Neither now nor to the next containerd is any of them told again.
    await sleep(500);
    await bed.containerd.kill();
    await bed.containerd.start();
    await sleep(1500);
    assert.equal(toldExits(bed), 4);

    const events = await bed.events();
    for (const [id, code] of Object.entries(expected)) {
      assert.equal(await bed.taskStatus(id), 'STOPPED');
      await bed.ctr(['tasks', 'delete', id]);
      const { fields } = await events.until(id, 'delete');
      assert.equal(fields['exit_status'] ?? 0, code, id);
      const at = Date.parse(String(fields['exited_at']));
      assert.ok(at >= before - 50 && at <= restarting, `${id} ended at ${at}, not from ${before} to ${restarting}`);
    }
  });

  test('the exit of an exec that ended meanwhile is reported once', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    await bed.execDetached('host', 'short', when('go', 'exit 9'));
    await bed.containerd.kill();
    say(bed, 'go');
    await until('it ends', () => !markedProcesses(bed.scratch).some(({ command }) => command.startsWith('sh ')));
    await bed.containerd.start();
    await until('containerd is told of the exit', () => toldExits(bed) >= 1, redeliveryMilliseconds);
    await sleep(500);
    assert.equal(toldExits(bed), 1);
    assert.equal((await bed.ctr(['tasks', 'delete', '--exec-id', 'short', 'host'])).code, 9);
    assert.equal(await bed.taskStatus('host'), 'RUNNING');
  });

  test('50 MB to a FIFO arrive complete while containerd is dead', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const digest = writeRandomFile(bed.path('rootfs', 'data'), bulkBytes);
    await bed.runDetached({ id: 'writes', command: when('go', 'cat /data; exit 7') });
    const hash = createHash('sha256');
    using reader = new FifoReader(bed.fifoOf('writes', 'stdout'), { onData: (bytes) => hash.update(bytes) });
    say(bed, 'go');
    await until('a part has arrived', () => reader.bytesRead > bulkBytes / 10);
    reader.pause();
    await bed.containerd.kill();
    reader.resume();
    await until('all has arrived', () => reader.bytesRead >= bulkBytes, 30_000);
    await bed.containerd.start();
    await until('the task has ended', async () => (await bed.taskStatus('writes')) === 'STOPPED');
    assert.match((await bed.ctr(['tasks', 'delete', 'writes'])).stderr, /exit code 7/);
    await reader.ended;
    assert.equal(reader.bytesRead, bulkBytes);
    assert.equal(hash.digest('hex'), digest);
  });

  test('50 MB to a file arrive complete while containerd is dead', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const digest = writeRandomFile(bed.path('rootfs', 'data'), bulkBytes);
    const log = bed.path('container.log');
    const halves = ['dd if=/data bs=1M count=25 2>/dev/null', 'dd if=/data bs=1M skip=25 2>/dev/null'];
    await bed.runDetached({
      id: 'writes',
      flags: ['--log-uri', `file://${log}`],
      command: when('go', `${halves.join('; until [ -e /on ]; do sleep 0.02; done; ')}; exit 7`),
    });
    say(bed, 'go');
    await until('a part has arrived', () => statSync(log).size > bulkBytes / 10);
    await bed.containerd.kill();
    say(bed, 'on');
    await until('all has arrived', () => statSync(log).size >= bulkBytes, 30_000);
    await bed.containerd.start();
    await until('the task has ended', async () => (await bed.taskStatus('writes')) === 'STOPPED');
    assert.match((await bed.ctr(['tasks', 'delete', 'writes'])).stderr, /exit code 7/);
    assert.equal(digestOf(log), digest);
  });

  test('50 MB for a reader that died with containerd wait, in order, until one comes', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const digest = writeRandomFile(bed.path('rootfs', 'data'), bulkBytes);
    await bed.runDetached({ id: 'writes', command: when('go', 'cat /data; exit 7') });
    const fifo = bed.fifoOf('writes', 'stdout');
    const hash = createHash('sha256');
    const onData = (bytes: Buffer) => void hash.update(bytes);
    const first = new FifoReader(fifo, { onData });
    say(bed, 'go');
    await until('a part has arrived', () => first.bytesRead > bulkBytes / 10);
    first.close();
    await bed.containerd.kill();
    await until(
      'the container has written all and ended',
      () => !markedProcesses(bed.scratch).some(({ command }) => /^(cat|sh) /.test(command)),
    );

    await bed.containerd.start();
    await until('the task has ended', async () => (await bed.taskStatus('writes')) === 'STOPPED');
    using second = new FifoReader(fifo, { onData });
    await until('the rest has arrived', () => first.bytesRead + second.bytesRead >= bulkBytes, 30_000);
    await bed.ctr(['tasks', 'delete', 'writes']);
    await second.ended;
    assert.equal(first.bytesRead + second.bytesRead, bulkBytes);
    assert.equal(hash.digest('hex'), digest);
  });

  test('a person whose ctr died with containerd attaches again and goes on', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const flags = ['--fifo-dir', bed.path('fifos')];
    const run = bed.start(
      bed.run({ id: 'listens', flags, command: ['sh', '-c', 'while read line; do echo "heard $line"; done'] }),
    );
    run.write('one\n');
    await run.says('heard one\n');
    await run.kill('SIGKILL'); // first, or it would see containerd die and remove its FIFOs
    await bed.containerd.kill();
    await bed.containerd.start();
    const attached = bed.start(['tasks', 'attach', 'listens']);
    attached.write('two\n');
    await attached.says('heard two\n');
    assert.equal(await bed.taskStatus('listens'), 'RUNNING');
  });

  test('shims that sleep are found again, and exits that woke them are told once', async (t) => {
    const bed = await TestBed.open(t, { runtime, environment: { BERTH_SLEEP_AFTER_SECONDS: '1' } });
    await bed.runDetached({ id: 'stays', command: ['sleep', '1000'] });
    await bed.runDetached({ id: 'ends', command: when('go', 'exit 6') });
    const ends = await bed.taskPid('ends');
    const shims = [await bed.taskPid('stays'), ends].map((pid) => statOf(pid)?.parent ?? 0);
    await bed.containerd.kill();
    await until('both shims sleep', () => shims.every(isAsleep), 15_000);
    say(bed, 'go');
    await until('the short one ends', () => hasEnded(ends));
    await bed.containerd.start();
    await until('containerd is told of the exit', () => toldExits(bed) >= 1, redeliveryMilliseconds);
    assert.deepEqual(await Promise.all(['stays', 'ends'].map((id) => bed.taskStatus(id))), ['RUNNING', 'STOPPED']);
    await until('both sleep again', () => shims.every(isAsleep), 15_000);
    const exec = await bed.ctr(['tasks', 'exec', '--exec-id', 'wakes', 'stays', 'echo', 'awake']);
    assert.deepEqual(exec, { code: 0, stdout: 'awake\n', stderr: '' });
    assert.match((await bed.ctr(['tasks', 'delete', 'ends'])).stderr, /exit code 6/);
    await until('containerd is told of the exit of the exec', () => toldExits(bed) >= 2, redeliveryMilliseconds);
    await sleep(500);
    assert.equal(toldExits(bed), 2, 'the exits of the container and of the exec');
  });

  test('whatever it was doing: nothing is lost, stuck or left', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'bystander', command: ['sleep', '1000'] });
    const pid = await bed.taskPid('bystander');
    for (const [number, milliseconds] of [5, 20, 35, 50, 70, 100].entries()) {
      const run = bed.start(
        bed.run({ id: `caught-${number}`, flags: ['--fifo-dir', bed.path('fifos')], command: ['sleep', '1000'] }),
      );
      await sleep(milliseconds);
      await bed.containerd.kill();
      await run.kill('SIGKILL');
      await bed.containerd.start();
      assert.equal(await bed.taskPid('bystander'), pid);
      await bed.ctr(['tasks', 'delete', '--force', `caught-${number}`]);
      await bed.ctr(['containers', 'delete', `caught-${number}`]);
    }
    assert.equal(await bed.taskStatus('bystander'), 'RUNNING');
  });
});
