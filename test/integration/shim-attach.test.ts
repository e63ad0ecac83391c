import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Code, TtrpcError } from '../../src/ttrpc/index.ts';
import { processSpec } from '../support/bundle.ts';
import { AttachClient } from '../support/attach-client.ts';
import { ShimBed } from '../support/shim-bed.ts';
import { until } from '../support/until.ts';

const sigkill = 9;
const all = { stdin: true, stdout: true, stderr: true };
const answers = ['sh', '-c', 'while read line; do echo "heard $line"; echo "noted $line" >&2; done; echo ended'];

describe('clients that attach', () => {
  test('all see the same output, and each may write', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, stdio } = await bed.running('one', answers);
    const attached = [
      await AttachClient.attach(client, all),
      await AttachClient.attach(client, all),
      await AttachClient.attach(client, { stdout: true }),
    ];
    for (const [n, one] of attached.slice(0, 2).entries()) {
      one.write(`from ${n}\n`);
      await Promise.all(attached.map((each) => each.waitFor(`heard from ${n}\n`)));
      await stdio.output.waitFor(`heard from ${n}\n`);
    }
    await until('stderr', () => attached.slice(0, 2).every(({ stderr }) => stderr === 'noted from 0\nnoted from 1\n'));
    assert.equal(attached[2]?.stderr, '');
    await client.kill(sigkill);
    await Promise.all(attached.map(({ ended }) => ended));
  });

  test('see nothing of what was before them, and all of what comes', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, stdio } = await bed.running('one', ['sh', '-c', 'echo before; read go; seq 1 200000']);
    await stdio.output.waitFor('before\n');
    using attached = await AttachClient.attach(client, all);
    attached.write('go\n');
    await attached.ended;
    assert.equal(attached.stdout, Array.from({ length: 200_000 }, (_, n) => `${n + 1}\n`).join(''));
    assert.equal(stdio.output.text, `before\n${attached.stdout}`);
  });

  test('may leave at any time: others and the container go on', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, stdio } = await bed.running('one', answers);
    const leaving = await AttachClient.attach(client, all);
    using staying = await AttachClient.attach(client, all);
    leaving.write('half a li');
    leaving.close();
    await until('the shim to notice', async () => (await client.berth('Info', {})).containers[0]?.attached === 1);
    staying.write('ne\n');
    await staying.waitFor('heard half a line\n');
    await stdio.output.waitFor('heard half a line\n');
  });

  test('may end stdin, if they say so', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', answers);
    using attached = await AttachClient.attach(client, all);
    attached.write('last\n');
    attached.endStdin();
    await attached.waitFor('ended\n');
    assert.equal((await client.wait()).exitStatus, 0);
  });

  test('reach an exec too, and a container that has no FIFO at all', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['sleep', '600']);
    await bed.create(client);
    await client.startTask();
    await client.exec('e', processSpec({ args: ['sh', '-c', 'read word; echo "exec heard $word"; sleep 1'] }), {
      stdin: 'attach://',
      stdout: `file://${bed.path('e.log')}`,
    });
    await client.startTask('e');
    using attached = await AttachClient.attach(client, { ...all, execId: 'e' });
    attached.write('hello\n');
    await attached.waitFor('exec heard hello\n');
  });

  test('to a terminal see what it echoes', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sh'], { terminal: true });
    using attached = await AttachClient.attach(client, { stdin: true, stdout: true });
    attached.write('echo $((6*7))\n');
    const text = await attached.waitFor('42\r\n');
    assert.ok(text.includes('echo $((6*7))'));
  });

  test('need the token that they were given, once', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', answers);
    const { address, token } = await client.berth('Attach', { id: 'one', ...all });
    const path = client.pathOf(address);
    const wrong = await AttachClient.connect(path, '0'.repeat(token.length));
    await wrong.ended;
    using right = await AttachClient.connect(path, token);
    right.write('hello\n');
    await right.waitFor('heard hello\n');
    const second = await AttachClient.connect(path, token);
    await second.ended;
  });

  test('are refused when the process has ended', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['true']);
    await client.wait();
    await assert.rejects(
      client.berth('Attach', { id: 'one', ...all }),
      (error: unknown) => error instanceof TtrpcError && error.code === Code.FailedPrecondition,
    );
  });

  test('and send no frames are cut off, and disturb nobody', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', answers);
    const { address, token } = await client.berth('Attach', { id: 'one', ...all });
    using good = await AttachClient.attach(client, all);
    const bad = await AttachClient.connect(client.pathOf(address), `${token}${'\xff'.repeat(100)}`);
    await bad.ended;
    good.write('still here\n');
    await good.waitFor('heard still here\n');
  });
});
