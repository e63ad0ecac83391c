import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Logger, pino } from 'pino';
import { ConfFolder } from '../../../../src/manager/network/conf-folder.ts';

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-conf-'));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function logged(): { lines: { file: string; reason: string }[]; log: Logger } {
  const lines: { file: string; reason: string }[] = [];
  const write = (line: string) => lines.push(JSON.parse(line) as { file: string; reason: string });
  return { lines, log: pino({}, { write }) };
}

const list = (name: string) => JSON.stringify({ cniVersion: '1.0.0', name, plugins: [{ type: 'bridge' }] });
const single = (name: string) => JSON.stringify({ cniVersion: '1.0.0', name, type: 'ptp' });

test('files count in the order of their names, as many as are wanted', async (t) => {
  const folder = newFolder(t);
  writeFileSync(join(folder, '20-b.conf'), single('b'));
  writeFileSync(join(folder, '10-a.conflist'), list('a'));
  writeFileSync(join(folder, '30-c.json'), single('c'));
  writeFileSync(join(folder, '05-not.conflist.bak'), list('not'));
  mkdirSync(join(folder, '00-folder.conf'));
  const names = async (most: number) =>
    (await new ConfFolder(folder, most, logged().log).load()).networks.map((n) => n.name);
  assert.deepEqual(await names(1), ['a']);
  assert.deepEqual(await names(2), ['a', 'b']);
  assert.deepEqual(await names(0), ['a', 'b', 'c']);
});

test('a file that is not valid is skipped and logged once, with its reason', async (t) => {
  const folder = newFolder(t);
  const { lines, log } = logged();
  writeFileSync(join(folder, '10-broken.conflist'), '{');
  writeFileSync(join(folder, '20-good.conflist'), list('good'));
  const files = new ConfFolder(folder, 1, log);
  for (let times = 0; times < 3; times++) {
    const { networks, skipped } = await files.load();
    assert.deepEqual([networks[0]?.name, skipped.length], ['good', 1]);
  }
  assert.equal(lines.length, 1);
  assert.equal(lines[0]?.file, join(folder, '10-broken.conflist'));
  assert.match(lines[0].reason, /no JSON/);
  writeFileSync(join(folder, '10-broken.conflist'), '[]');
  await files.load();
  assert.match(lines[1]?.reason ?? '', /no JSON object/);
});

test('a folder that is not there has no networks', async () => {
  const { networks, skipped } = await new ConfFolder('/no/such/folder', 1, logged().log).load();
  assert.deepEqual([networks, skipped], [[], []]);
});

test('a file that is too long is not read', async (t) => {
  const folder = newFolder(t);
  writeFileSync(join(folder, '10-long.conflist'), list('long') + ' '.repeat(2 * 1024 * 1024));
  const { networks, skipped } = await new ConfFolder(folder, 1, logged().log).load();
  assert.equal(networks.length, 0);
  assert.match(skipped.join(), /more than 1048576 bytes/);
});

test('plugins of files in a folder of the network’s name come after its own, unless it wants none', async (t) => {
  const folder = newFolder(t);
  mkdirSync(join(folder, 'net'));
  writeFileSync(join(folder, 'net', '20-tuning.conf'), '{"type": "tuning"}');
  writeFileSync(join(folder, 'net', '10-portmap.conf'), '{"type": "portmap"}');
  const types = async (fields: object) => {
    const text = JSON.stringify({ ...(JSON.parse(list('net')) as object), ...fields });
    writeFileSync(join(folder, '10-net.conflist'), text);
    const { networks } = await new ConfFolder(folder, 1, logged().log).load();
    return networks[0]?.plugins.map(({ type }) => type);
  };
  assert.deepEqual(await types({}), ['bridge', 'portmap', 'tuning']);
  assert.deepEqual(await types({ loadOnlyInlinedPlugins: true }), ['bridge']);
});
