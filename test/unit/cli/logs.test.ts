import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { logLines } from '../../../src/cli/logs/log-file.ts';
import { parseRecord } from '../../../src/cli/logs/record.ts';
import { cri } from '../../../src/wire/index.ts';
import { startFake, webId } from './fake-server.ts';
import { berthctl, spawnBerthctl } from './run-cli.ts';

const at = (second: number) => `2020-11-21T10:00:${String(second).padStart(2, '0')}.000000001Z`;
const line = (second: number, text: string, stream = 'stdout', tag = 'F') => `${at(second)} ${stream} ${tag} ${text}\n`;

let folder = '';
let path = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bl-'));
  path = join(folder, '1.log');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a record of a CRI log', () => {
  it('has time, stream, tag and content, which may be empty', () => {
    const record = parseRecord(Buffer.from(`${at(1)} stderr P a b  c`));
    assert.deepEqual(
      [record?.time, record?.stream, record?.partial, record?.content.toString()],
      [at(1), 'stderr', true, 'a b  c'],
    );
    assert.equal(parseRecord(Buffer.from(`${at(1)} stdout F `))?.content.length, 0);
    assert.equal(parseRecord(Buffer.from(`${at(1)} stdout F`))?.content.length, 0);
    assert.equal(parseRecord(Buffer.from(`${at(1)} stdout P:x text`))?.partial, true);
  });

  it('is nothing else', () => {
    for (const text of ['', 'text', 'a b c d', `${at(1)} stdin F x`])
      assert.equal(parseRecord(Buffer.from(text)), undefined);
  });
});

describe('the lines of a log file', () => {
  const all = async (options: Parameters<typeof logLines>[1]) => {
    const lines: string[] = [];
    for await (const some of logLines(path, options)) lines.push(...some.map(String));
    return lines;
  };

  it('are all read, also the last one when it has no end yet', async () => {
    writeFileSync(path, 'one\n\ntwo\nthr');
    assert.deepEqual(await all({}), ['one', '', 'two', 'thr']);
  });

  it('can be the last ones, of which parts count as one', async () => {
    writeFileSync(path, line(1, 'a') + line(2, 'b1', 'stdout', 'P') + line(3, 'b2') + line(4, 'c'));
    assert.deepEqual(
      (await all({ tail: 2 })).map((one) => one.split(' ')[3]),
      ['b1', 'b2', 'c'],
    );
    assert.equal((await all({ tail: 99 })).length, 4);
    assert.deepEqual(await all({ tail: 0 }), []);
  });

  it('are found from the end of a file that is larger than what is read at once', async () => {
    const lines = Array.from({ length: 5000 }, (_, i) => line(i % 60, `${i} ${'x'.repeat(100)}`));
    writeFileSync(path, lines.join(''));
    for (const tail of [1, 10, 613, 4999, 5000]) {
      const found = await all({ tail });
      assert.equal(found.length, tail);
      assert.equal(`${found[0] ?? ''}\n`, lines[5000 - tail]);
    }
  });

  it('go on in the file that takes the place of one that was renamed, without loss', async () => {
    writeFileSync(path, 'one\n');
    let follow = true;
    const seen = all({ follow: () => Promise.resolve(follow) });
    await sleep(150);
    appendFileSync(path, 'two\n');
    renameSync(path, `${path}.old`);
    appendFileSync(`${path}.old`, 'three\n');
    await sleep(150);
    writeFileSync(path, 'four\n');
    await sleep(250);
    appendFileSync(path, 'five\n');
    follow = false;
    assert.deepEqual(await seen, ['one', 'two', 'three', 'four', 'five']);
  });

  it('begin anew when the file is cut short', async () => {
    writeFileSync(path, 'one\ntwo\n');
    let follow = true;
    const seen = all({ follow: () => Promise.resolve(follow) });
    await sleep(150);
    truncateSync(path, 0);
    await sleep(150);
    appendFileSync(path, 'new\n');
    await sleep(150);
    follow = false;
    assert.deepEqual(await seen, ['one', 'two', 'new']);
  });
});

describe('berthctl logs', () => {
  let state: cri.ContainerState = cri.ContainerState.CONTAINER_EXITED;
  const withLog = async (test: (socket: string) => Promise<void>) => {
    const ContainerStatus = () => ({
      status: { id: webId, metadata: { name: 'web', attempt: 1 }, state, logPath: path },
    });
    const fake = await startFake({ runtime: { ContainerStatus } });
    try {
      await test(fake.socket);
    } finally {
      fake.close();
    }
  };
  beforeEach(() => {
    state = cri.ContainerState.CONTAINER_EXITED;
    writeFileSync(path, line(1, 'one') + line(2, 'warn', 'stderr') + line(3, 'long, ', 'stdout', 'P') + line(4, 'end'));
  });

  it('puts each stream where it belongs, and parts together', () =>
    withLog(async (socket) => {
      const { code, stdout, stderr } = await berthctl(socket, ['logs', 'web']);
      assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'one\nlong, end\n', stderr: 'warn\n' });
    }));

  it('shows times once for each line', () =>
    withLog(async (socket) => {
      assert.equal((await berthctl(socket, ['logs', '-t', '1f73'])).stdout, `${at(1)} one\n${at(3)} long, end\n`);
    }));

  it('leaves out what is too old, too new, too much, or of the other stream', () =>
    withLog(async (socket) => {
      const logs = async (...args: string[]) => {
        const { stdout, stderr } = await berthctl(socket, ['logs', ...args, '1f73']);
        return stdout + stderr;
      };
      assert.equal(await logs('--since', '2020-11-21T10:00:02Z', '--until', '2020-11-21T10:00:02.5Z'), 'warn\n');
      assert.equal(await logs('--since', '1h'), '');
      assert.equal(await logs('--limit-bytes', '6'), 'one\nwa');
      assert.equal(await logs('--stream', 'stderr'), 'warn\n');
      assert.equal(await logs('--tail', '1'), 'long, end\n');
      assert.equal(await logs('--tail', '-1'), 'one\nlong, end\nwarn\n');
    }));

  it('shows the attempt before with -p', () =>
    withLog(async (socket) => {
      writeFileSync(join(folder, '0.log'), line(1, 'before'));
      assert.equal((await berthctl(socket, ['logs', '-p', '1f73'])).stdout, 'before\n');
    }));

  it('says that the file is not there', () =>
    withLog(async (socket) => {
      rmSync(path);
      const { code, stderr } = await berthctl(socket, ['logs', '1f73']);
      assert.equal(code, 3);
      assert.match(stderr, /cannot read the log: there is no file /);
    }));

  it('ends following when the container ends, with all that it wrote', () =>
    withLog(async (socket) => {
      state = cri.ContainerState.CONTAINER_RUNNING;
      const following = berthctl(socket, ['logs', '-f', '1f73']);
      await sleep(300);
      appendFileSync(path, line(5, 'more'));
      await sleep(300);
      appendFileSync(path, line(6, 'last'));
      state = cri.ContainerState.CONTAINER_EXITED;
      assert.equal((await following).stdout, 'one\nlong, end\nmore\nlast\n');
    }));

  it('ends following at Ctrl-C, which is no failure', () =>
    withLog(async (socket) => {
      state = cri.ContainerState.CONTAINER_RUNNING;
      const { child, ended } = spawnBerthctl(socket, ['logs', '-f', '1f73']);
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      child.kill('SIGINT');
      assert.deepEqual(await ended, { code: 0, stdout: 'one\nlong, end\n', stderr: 'warn\n' });
    }));

  it('ends quietly when nobody reads any more', () =>
    withLog(async (socket) => {
      writeFileSync(path, line(1, 'x'.repeat(200)).repeat(20_000));
      const { child, ended } = spawnBerthctl(socket, ['logs', '1f73']);
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      child.stdout?.destroy();
      const { code, stderr } = await ended;
      assert.deepEqual([code, stderr], [0, '']);
    }));
});
