import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import { TestBed } from '../support/test-bed.ts';

withEachRuntime('ctr task exec', (runtime) => {
  test('runs a process in the container and gives its output and exit code', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    const exec = (id: string, ...command: string[]) => bed.ctr(['tasks', 'exec', '--exec-id', id, 'host', ...command]);
    assert.deepEqual(await exec('speaks', 'sh', '-c', 'echo out; echo err >&2; exit 42'), {
      code: 42,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    assert.deepEqual(await exec('again', 'cat', '/proc/1/comm'), { code: 0, stdout: 'sleep\n', stderr: '' });
    assert.equal(await bed.taskStatus('host'), 'RUNNING');
  });

  test('takes input, a user and a working directory', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.importImage();
    await bed.runDetached({ id: 'host', fromImage: true, command: ['sleep', '1000'] });
    const flags = ['--exec-id', 'guest', '--user', 'guest', '--cwd', '/tmp'];
    const result = await bed.ctr(['tasks', 'exec', ...flags, 'host', 'sh', '-c', 'id -un; pwd; cat'], {
      input: 'spoken\n',
    });
    assert.deepEqual(result, { code: 0, stdout: 'guest\n/tmp\nspoken\n', stderr: '' });
  });

  test('runs eight at once, each with its own output and exit code', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    const numbers = Array.from({ length: 8 }, (_, index) => index);
    const results = await Promise.all(
      numbers.map((number) => {
        const script = `sleep 0.1; head -c 100000 /dev/zero | tr "\\0" ${number}; exit ${number}`;
        return bed.ctr(['tasks', 'exec', '--exec-id', `number-${number}`, 'host', 'sh', '-c', script]);
      }),
    );
    for (const [number, result] of results.entries()) {
      assert.deepEqual(result, { code: number, stdout: String(number).repeat(100_000), stderr: '' });
    }
  });

  test('of a program that is not there says so, and the container runs on', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    const result = await bed.ctr(['tasks', 'exec', '--exec-id', 'absent', 'host', '/no/such/program']);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /\/no\/such\/program/);
    assert.equal(await bed.taskStatus('host'), 'RUNNING');
  });

  test('in a stopped container is refused', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    await bed.runDetached({ id: 'ended', command: ['true'] });
    await events.until('ended', 'exit');
    const result = await bed.ctr(['tasks', 'exec', '--exec-id', 'late', 'ended', 'true']);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /stopped|not running|no running/);
  });

  test('ends with the container, by SIGKILL', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    const exec = bed.start(['tasks', 'exec', '--exec-id', 'inside', 'host', 'sh', '-c', 'echo ready; sleep 1000']);
    await exec.says('ready');
    await bed.ctrPrints('tasks', 'kill', '--signal', 'SIGKILL', 'host');
    assert.equal(await exec.exited, 137);
  });
});
