import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { describe, test } from 'node:test';
import { processSpec } from '../support/bundle.ts';
import { ShimBed } from '../support/shim-bed.ts';
import type { ShimClient } from '../support/shim-client.ts';
import { until } from '../support/until.ts';

interface LogLine {
  at: string;
  stream: string;
  tag: string;
  text: string;
}

const line = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([PF]) (.*)$/;

/** The lines of a CRI log; fails for one that is none. */
function parse(text: string): LogLine[] {
  assert.ok(text === '' || text.endsWith('\n'), 'the last line has no end');
  return text
    .split('\n')
    .slice(0, -1)
    .map((one) => {
      const [, at, stream, tag, rest] = line.exec(one) ?? [];
      assert.ok(at !== undefined, `no line of a CRI log: ${one.slice(0, 100)}`);
      return { at, stream: stream ?? '', tag: tag ?? '', text: rest ?? '' };
    });
}

/** What the container wrote to a stream. */
function written(lines: LogLine[], stream: string): string {
  return lines
    .filter((one) => one.stream === stream)
    .map(({ tag, text }) => (tag === 'F' ? `${text}\n` : text))
    .join('');
}

async function logging(bed: ShimBed, script: string, parameters = ''): Promise<{ client: ShimClient; path: string }> {
  const client = await bed.shim('one', ['sh', '-c', script]);
  const path = bed.path('one.log');
  await bed.create(client, { stdout: `cri://${path}${parameters}`, stderr: `cri://${path}${parameters}` });
  await client.startTask();
  return { client, path };
}

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => `${from + n}\n`).join('');

describe('output to cri://', () => {
  test('is a CRI log: time, stream, tag, text, in one file', async (t) => {
    const bed = await ShimBed.open(t);
    const before = new Date(Date.now() - 1000).toISOString();
    const { client, path } = await logging(
      bed,
      'echo out; sleep 0.2; echo err >&2; sleep 0.2; echo; echo "two words  and more"',
    );
    await client.wait();
    const lines = parse(readFileSync(path, 'utf8'));
    assert.deepEqual(
      lines.map(({ stream, tag, text }) => [stream, tag, text]),
      [
        ['stdout', 'F', 'out'],
        ['stderr', 'F', 'err'],
        ['stdout', 'F', ''],
        ['stdout', 'F', 'two words  and more'],
      ],
    );
    const times = lines.map(({ at }) => at);
    assert.deepEqual([...times].sort(), times);
    assert.ok((times[0] ?? '') > before);
  });

  test('has a long line in parts, each but the last marked as partial', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, path } = await logging(bed, 'head -c 100000 /dev/zero | tr "\\0" x; echo; echo next');
    await client.wait();
    const lines = parse(readFileSync(path, 'utf8'));
    assert.equal(written(lines, 'stdout'), `${'x'.repeat(100_000)}\nnext\n`);
    assert.ok(lines.length > 2, 'it is one line');
    assert.ok(
      lines.every(({ text }) => text.length <= 16 * 1024),
      'a part is too long',
    );
    assert.deepEqual(new Set(lines.slice(0, -2).map(({ tag }) => tag)), new Set(['P']));
    assert.deepEqual(
      lines.slice(-2).map(({ tag }) => tag),
      ['F', 'F'],
    );
  });

  test('loses no end of line that never came', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, path } = await logging(bed, 'echo whole; printf begun');
    await client.wait();
    assert.match(written(parse(readFileSync(path, 'utf8')), 'stdout'), /^whole\nbegun\n?$/);
  });

  test('of stdout and stderr at once tears no line of either', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, path } = await logging(bed, 'seq 1 20000 & seq 1 20000 >&2; wait');
    await client.wait();
    const lines = parse(readFileSync(path, 'utf8'));
    assert.equal(written(lines, 'stdout'), numbers(1, 20_000));
    assert.equal(written(lines, 'stderr'), numbers(1, 20_000));
  });

  test('goes to the new file after a rotation, and nothing between the two is lost', async (t) => {
    const bed = await ShimBed.open(t);
    const rotations = 10;
    const { client, path } = await logging(
      bed,
      'i=0; until [ -e /tmp/enough ]; do i=$((i+1)); echo $i; [ $((i % 100)) = 0 ] && sleep 0.005; done; echo end',
    );
    const hasLines = () => readFileSync(path, 'utf8').split('\n').length > 20;
    for (let n = 0; n < rotations; n++) {
      await until('lines', hasLines);
      renameSync(path, `${path}.${n}`);
      await client.berth('ReopenLogs', { id: 'one' });
      assert.ok(existsSync(path), 'the answer came before the new file');
    }
    await until('lines after the last rotation', hasLines);
    await client.exec('enough', processSpec({ args: ['touch', '/tmp/enough'] }));
    await client.startTask('enough');
    await client.wait();
    const parts = [...Array.from({ length: rotations }, (_, n) => `${path}.${n}`), path];
    const all = parts.map((part) => written(parse(readFileSync(part, 'utf8')), 'stdout')).join('');
    assert.equal(all, `${numbers(1, all.split('\n').length - 2)}end\n`);
  });

  test('rotates by itself at max-bytes, keeping one old file', async (t) => {
    const bed = await ShimBed.open(t);
    const maxBytes = 1_000_000;
    const oneWriteBytes = 128 * 1024; // the pump looks at the size between its writes
    const { client, path } = await logging(bed, 'seq 1 200000', `?max-bytes=${maxBytes}`);
    await client.wait();
    const sizes = [path, `${path}.1`].map((file) => statSync(file).size);
    assert.ok(
      sizes.every((size) => size <= maxBytes + oneWriteBytes),
      `sizes ${sizes.join(' and ')}`,
    );
    const kept = written([...parse(readFileSync(`${path}.1`, 'utf8')), ...parse(readFileSync(path, 'utf8'))], 'stdout');
    assert.ok(numbers(1, 200_000).endsWith(kept), 'what is kept is not the end');
    assert.ok(!existsSync(`${path}.2`));
  });
});
