import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import { TestBed } from '../support/test-bed.ts';

/** A shell command that says something at each USR1 and goes on. */
const echoes = (name: string) => `trap "echo ${name}" USR1; echo ${name} ready; while :; do sleep 0.05; done`;

withEachRuntime('ctr task kill', (runtime) => {
  test('sends the signal that is asked for', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const command = ['sh', '-c', 'trap "echo caught; exit 7" TERM; echo ready; while :; do sleep 0.05; done'];
    const run = bed.start(bed.run({ id: 'traps', command }));
    await run.says('ready');
    await bed.ctrPrints('tasks', 'kill', '--signal', 'SIGTERM', 'traps');
    assert.equal(await run.exited, 7);
    assert.equal(run.stdout, 'ready\ncaught\n');
  });

  test('with SIGKILL ends a container with exit code 137', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const run = bed.start(bed.run({ id: 'killed', command: ['sh', '-c', 'echo ready; sleep 1000'] }));
    await run.says('ready');
    await bed.ctrPrints('tasks', 'kill', '--signal', 'SIGKILL', 'killed');
    assert.equal(await run.exited, 137);
  });

  test('reaches the first process only, and all of them with --all', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const run = bed.start(
      bed.run({ id: 'family', command: ['sh', '-c', `(${echoes('child')}) & ${echoes('parent')}`] }),
    );
    await run.says('parent ready');
    await run.says('child ready');
    await bed.ctrPrints('tasks', 'kill', '--signal', 'SIGUSR1', 'family');
    await run.says('parent\n');
    assert.doesNotMatch(run.stdout, /child\n/);
    await bed.ctrPrints('tasks', 'kill', '--all', '--signal', 'SIGUSR1', 'family');
    await run.says('child\n');
    await run.says(/parent\n(.*\n)*parent\n/);
    await bed.ctrPrints('tasks', 'kill', '--all', '--signal', 'SIGKILL', 'family');
    assert.equal(await run.exited, 137);
  });

  test('ends one exec, and nothing else', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    const exec = bed.start(['tasks', 'exec', '--exec-id', 'victim', 'host', 'sh', '-c', 'echo ready; sleep 1000']);
    await exec.says('ready');
    await bed.ctrPrints('tasks', 'kill', '--exec-id', 'victim', '--signal', 'SIGTERM', 'host');
    assert.equal(await exec.exited, 143);
    assert.equal(await bed.taskStatus('host'), 'RUNNING');
  });

  test('of a container that has ended says that it is not there to be killed', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    await bed.runDetached({ id: 'ended', command: ['true'] });
    await events.until('ended', 'exit');
    const result = await bed.ctr(['tasks', 'kill', '--signal', 'SIGTERM', 'ended']);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /not found|finished|not running/);
  });

  test('forced deletion ends a running container', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'stubborn', command: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'] });
    await bed.ctrPrints('tasks', 'delete', '--force', 'stubborn');
    assert.equal(await bed.taskStatus('stubborn'), undefined);
  });

  test('a running container is not deleted without force', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'busy', command: ['sleep', '1000'] });
    const result = await bed.ctr(['tasks', 'delete', 'busy']);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /running/);
    assert.equal(await bed.taskStatus('busy'), 'RUNNING');
  });
});
