import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import { TestBed } from '../support/test-bed.ts';

const answers = ['sh', '-c', 'while read line; do echo "heard $line"; done'];

withEachRuntime('ctr task attach', (runtime) => {
  test('speaks with a container that was started detached', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'listens', command: answers });
    const attached = bed.start(['tasks', 'attach', 'listens']);
    attached.write('one\n');
    await attached.says('heard one\n');
    await bed.ctrPrints('tasks', 'kill', '--signal', 'SIGKILL', 'listens');
    assert.equal(await attached.exited, 137);
  });

  test('may be cut off and begun again: the container listens on', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'listens', command: answers });
    for (const word of ['one', 'two', 'three']) {
      const attached = bed.start(['tasks', 'attach', 'listens']);
      attached.write(`${word}\n`);
      await attached.says(`heard ${word}\n`);
      await attached.kill('SIGKILL');
    }
    assert.equal(await bed.taskStatus('listens'), 'RUNNING');
  });

  test('gets what was written while nobody was there', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const command = ['sh', '-c', 'until [ -e /go ]; do sleep 0.05; done; seq 1 30000; touch /written; sleep 1000'];
    await bed.runDetached({ id: 'writes', command });
    await bed.ctrPrints(
      'tasks',
      'exec',
      '--exec-id',
      'go',
      'writes',
      'sh',
      '-c',
      'touch /go; until [ -e /written ]; do sleep 0.05; done',
    );
    const attached = bed.start(['tasks', 'attach', 'writes']);
    await attached.says('\n30000\n');
    const expected = Array.from({ length: 30_000 }, (_, index) => `${index + 1}\n`).join('');
    assert.equal(attached.stdout, expected);
  });

  test('to a terminal, types and reads', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const flags = ['--detach', '--tty', '--fifo-dir', bed.path('fifos')];
    const starter = bed.terminal(bed.run({ id: 'shell', flags, command: ['sh'] }));
    assert.equal(await starter.exited, 0);
    const terminal = bed.terminal(['tasks', 'attach', 'shell']);
    terminal.type('echo sum=$((6*7))\r');
    await terminal.shows('sum=42');
    terminal.type('exit 3\r');
    assert.equal(await terminal.exited, 3);
  });
});
