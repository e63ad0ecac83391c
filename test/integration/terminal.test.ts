import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import type { Terminal } from '../support/terminal.ts';
import { TestBed } from '../support/test-bed.ts';

/** Where the shell waits for the next line. */
const prompt = '# ';

async function enter(terminal: Terminal, line: string): Promise<void> {
  await terminal.shows(prompt);
  terminal.type(`${line}\r`);
}

withEachRuntime('a person at a terminal', (runtime) => {
  test('types into ctr run -t and reads the answers', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const terminal = bed.terminal(bed.run({ id: 'shell', flags: ['--rm', '--tty'], command: ['sh'] }));
    await enter(terminal, 'echo sum=$((6*7))');
    await terminal.shows('sum=42');
    await enter(terminal, 'tty');
    await terminal.shows(/\/dev\/(pts\/0|console)/);
    await enter(terminal, 'exit 3');
    assert.equal(await terminal.exited, 3);
  });

  test('interrupts what runs with Ctrl-C, and the shell goes on', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const terminal = bed.terminal(bed.run({ id: 'shell', flags: ['--rm', '--tty'], command: ['sh'] }));
    await enter(terminal, 'echo before; sleep 1000');
    await terminal.shows(/before\r+\n/);
    terminal.type('\x03');
    await enter(terminal, 'echo status=$?');
    await terminal.shows('status=130');
    await enter(terminal, 'exit');
    assert.equal(await terminal.exited, 0);
  });

  test('changes the size of the window, and programs inside see it', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const terminal = bed.terminal(bed.run({ id: 'shell', flags: ['--rm', '--tty'], command: ['sh'] }));
    const isNow = (size: string) => `until [ "$(stty size)" = "${size}" ]; do sleep 0.05; done; echo size=$(stty size)`;
    await enter(terminal, isNow('24 80'));
    await terminal.shows('size=24 80');
    terminal.resize({ columns: 101, rows: 37 });
    await enter(terminal, isNow('37 101'));
    await terminal.shows('size=37 101');
    await enter(terminal, 'exit');
    assert.equal(await terminal.exited, 0);
  });

  test('ends the input of a program with Ctrl-D', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const terminal = bed.terminal(
      bed.run({ id: 'counter', flags: ['--rm', '--tty'], command: ['sh', '-c', 'echo ready; wc -l'] }),
    );
    await terminal.shows('ready');
    terminal.type('one\rtwo\r\x04');
    await terminal.shows(/\b2\r+\n/);
    assert.equal(await terminal.exited, 0);
  });

  test('works in a running container with ctr task exec -t', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    const terminal = bed.terminal(['tasks', 'exec', '--tty', '--exec-id', 'shell', 'host', 'sh']);
    await enter(terminal, 'echo first=$(tr "\\0" " " </proc/1/cmdline)');
    await terminal.shows('first=sleep 1000');
    terminal.resize({ columns: 60, rows: 20 });
    await enter(terminal, 'until [ "$(stty size)" = "20 60" ]; do sleep 0.05; done; echo size=$(stty size)');
    await terminal.shows('size=20 60');
    await enter(terminal, 'echo before; sleep 1000');
    await terminal.shows(/before\r+\n/);
    terminal.type('\x03');
    await enter(terminal, 'exit 5');
    assert.equal(await terminal.exited, 5);
    assert.equal(await bed.taskStatus('host'), 'RUNNING');
  });

  test('gets all of a long output', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    // ctr drops what it has yet to write when the container ends: this one ends when all is read.
    const command = ['sh', '-c', 'seq 1 20000; echo done; read key'];
    const terminal = bed.terminal(bed.run({ id: 'long', flags: ['--rm', '--tty'], command }));
    await terminal.shows(/done\r+\n/, 30_000);
    const expected = Array.from({ length: 20_000 }, (_, index) => `${index + 1}\n`).join('');
    // Two terminals are in the way, and each makes one carriage return.
    assert.ok(
      terminal.screen.replaceAll(/\r+\n/g, '\n') === `${expected}done\n`,
      `${terminal.screen.length} characters`,
    );
    terminal.type('\r');
    assert.equal(await terminal.exited, 0);
  });
});
