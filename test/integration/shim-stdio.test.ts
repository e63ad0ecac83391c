import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { processSpec } from '../support/bundle.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { FifoWriter } from '../support/fifo.ts';
import { ShimBed } from '../support/shim-bed.ts';

const sigterm = 15;

/** What `seq 1 COUNT` prints. */
const sequence = (count: number) => Array.from({ length: count }, (_, n) => `${n + 1}\n`).join('');

withEachRuntime('output', (runtime) => {
  test('of 8 MB right before the end is all there when Wait has answered', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const count = 8 * 1024 * 1024;
    const { client, stdio } = await bed.running('one', [
      'sh',
      '-c',
      `yes 0123456789abcde | head -c ${count}; echo done >&2`,
    ]);
    await client.wait();
    await client.delete();
    await stdio.output.ended;
    assert.equal(stdio.output.bytesRead, count);
    const expected = createHash('sha256')
      .update('0123456789abcde\n'.repeat(count / 16))
      .digest('hex');
    assert.equal(createHash('sha256').update(stdio.output.text).digest('hex'), expected);
    assert.equal(stdio.errors.text, 'done\n');
  });

  test('of an exec is apart from that of init, and stdout from stderr', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, stdio } = await bed.running('one', ['sh', '-c', 'echo init; sleep 600']);
    const exec = bed.stdio('exec');
    await client.exec('e', processSpec({ args: ['sh', '-c', 'echo out; echo err >&2; exit 9'] }), {
      stdout: exec.stdout,
      stderr: exec.stderr,
    });
    await client.startTask('e');
    assert.equal((await client.wait('e')).exitStatus, 9);
    await client.delete('e');
    await Promise.all([exec.output.ended, exec.errors.ended]);
    assert.deepEqual([stdio.output.text, exec.output.text, exec.errors.text], ['init\n', 'out\n', 'err\n']);
  });
});

describe('stdin', () => {
  test('may be let go of and taken up again; only CloseIO ends it', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, stdio } = await bed.running('one', [
      'sh',
      '-c',
      'while read line; do echo "heard $line"; done; echo ended',
    ]);
    for (const word of ['one', 'two', 'three']) {
      using writer = await FifoWriter.open(stdio.stdin);
      writer.write(`${word}\n`);
      await stdio.output.waitFor(`heard ${word}\n`);
    }
    await sleep(200);
    assert.ok(!stdio.output.text.includes('ended'));
    await client.task('CloseIO', { id: 'one', stdin: true });
    assert.equal((await client.wait()).exitStatus, 0);
    await stdio.output.waitFor('ended\n');
  });

  test('that was written before CloseIO is delivered before its end', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, stdio } = await bed.running('one', ['sh', '-c', 'sleep 0.3; cat']);
    using writer = await FifoWriter.open(stdio.stdin);
    const text = sequence(8_000);
    writer.write(text);
    await client.task('CloseIO', { id: 'one', stdin: true });
    await client.wait();
    await stdio.output.ended;
    assert.equal(stdio.output.text, text);
  });

  test('of an exec is its own', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    const exec = bed.stdio('exec');
    const { stdin, stdout, stderr } = exec;
    await client.exec('e', processSpec({ args: ['cat'] }), { stdin, stdout, stderr });
    await client.startTask('e');
    using writer = await FifoWriter.open(stdin);
    writer.write('through an exec\n');
    await exec.output.waitFor('through an exec\n');
    await client.task('CloseIO', { id: 'one', execId: 'e', stdin: true });
    assert.equal((await client.wait('e')).exitStatus, 0);
  });
});

describe('a reader of output', () => {
  test('that goes away stops nothing: another one gets all, in order', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', [
      'sh',
      '-c',
      'seq 1 100000; sleep 0.5; seq 100001 200000; echo done > /tmp/done; sleep 600',
    ]);
    const { stdout, output, stderr } = bed.stdio('one');
    await bed.create(client, { stdout, stderr });
    await client.startTask();
    await output.waitFor('\n');
    const first = output.text;
    output.close();
    await client.exec('look', processSpec({ args: ['sh', '-c', 'until [ -e /tmp/done ]; do sleep 0.05; done'] }));
    await client.startTask('look');
    await client.wait('look');
    const second = bed.reader(stdout);
    await second.waitFor('200000\n');
    const expected = sequence(200_000);
    const lost = expected.length - first.length - second.text.length;
    assert.ok(expected.endsWith(second.text), 'not in order');
    assert.ok(lost >= 0 && lost <= 64 * 1024, `${lost} bytes that the first reader's pipe may have held`);
  });

  test('that never comes leaves the container running, and its end is told', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['sh', '-c', 'seq 1 300000']);
    const { stdout, output, stderr } = bed.stdio('one');
    output.close();
    await bed.create(client, { stdout, stderr });
    await client.startTask();
    assert.equal((await client.wait()).exitStatus, 0);
  });

  test('that is slow holds the container back', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['sh', '-c', 'seq 1 2000000; echo all > /tmp/all; sleep 600']);
    const { stdout, output, stderr } = bed.stdio('one');
    output.pause();
    await bed.create(client, { stdout, stderr });
    await client.startTask();
    await sleep(1000);
    await client.exec('look', processSpec({ args: ['test', '-e', '/tmp/all'] }));
    await client.startTask('look');
    assert.equal((await client.wait('look')).exitStatus, 1);
    output.resume();
    await output.waitFor('\n2000000\n', 30_000);
    assert.equal(output.bytesRead, sequence(2_000_000).length);
  });
});

withEachRuntime('output of a terminal', (runtime) => {
  test('is all there when the container ends right after it, for a reader that pauses until then', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, stdio } = await bed.running('one', ['sh', '-c', 'seq 1 20000'], { terminal: true });
    stdio.output.pause();
    await client.wait();
    stdio.output.resume();
    await stdio.output.ended;
    assert.equal(stdio.output.text.replaceAll('\r\n', '\n'), sequence(20_000));
  });
});

describe('a terminal', () => {
  test('has the size that ResizePty says, and carries both ways', async (t) => {
    const bed = await ShimBed.open(t);
    const script = 'trap "stty size" WINCH; echo ready; while :; do read line && echo "heard $line"; done';
    const { client, stdio } = await bed.running('one', ['sh', '-c', script], { terminal: true });
    await stdio.output.waitFor('ready');
    await client.task('ResizePty', { id: 'one', width: 132, height: 43 });
    using writer = await FifoWriter.open(stdio.stdin);
    writer.write('typed\n');
    await stdio.output.waitFor('heard typed');
    await stdio.output.waitFor('43 132');
    await client.kill(sigterm, { all: true }).catch(() => undefined);
  });

  test('of an exec is its own', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    const { stdin, stdout, output } = bed.stdio('exec');
    const spec = processSpec({ args: ['sh', '-c', 'read go; stty size; tty; exit 3'], terminal: true });
    await client.exec('e', spec, { stdin, stdout, terminal: true });
    await client.startTask('e');
    await client.task('ResizePty', { id: 'one', execId: 'e', width: 100, height: 30 });
    using writer = await FifoWriter.open(stdin);
    writer.write('go\n');
    assert.equal((await client.wait('e')).exitStatus, 3);
    await output.waitFor('30 100');
    assert.match(output.text, /\/dev\/pts\/\d/);
  });
});

describe('output to file://', () => {
  test('is appended, stdout and stderr alike', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['sh', '-c', 'echo out; echo err >&2; seq 1 50000']);
    const path = bed.path('one.log');
    const uri = `file://${path}`;
    await bed.create(client, { stdout: uri, stderr: uri });
    await client.startTask();
    await client.wait();
    const text = readFileSync(path, 'utf8');
    assert.ok(text.includes('out\n') && text.includes('err\n'));
    assert.ok(text.replace('err\n', '').endsWith(sequence(50_000)));
  });
});
