import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { native, temporaryFolder } from './addon.ts';

const folder = temporaryFolder();

function layer(name: string, files: Record<string, string>): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return path;
}

/** Contents of the files, undefined for those that are not there. */
function look(layers: string[], ...paths: string[]): (string | undefined)[] {
  const descriptors = native.openInLayers(layers, paths);
  try {
    return descriptors.map((fd) => (fd < 0 ? undefined : readFileSync(`/proc/self/fd/${fd}`, 'utf8')));
  } finally {
    for (const fd of descriptors) if (fd >= 0) closeSync(fd);
  }
}

test('files are looked up in one layer, or in what several make together', () => {
  const [top, bottom] = [layer('top', { a: 'top', b: 'top' }), layer('bottom', { a: 'bottom', c: 'bottom' })];
  assert.deepEqual(look([bottom], '/a', 'b', '/c'), ['bottom', undefined, 'bottom']);
  assert.deepEqual(look([top, bottom], '/a', 'b', '/c', '/d'), ['top', 'top', 'bottom', undefined]);
  assert.deepEqual(look([], '/a'), [undefined]);
  assert.deepEqual(look([top, bottom]), []);
});

test('the layers are the root: neither links nor dots lead out of them', () => {
  const outside = join(folder, 'outside');
  writeFileSync(outside, 'secret');
  const one = layer('links', { inside: 'inside' });
  symlinkSync(outside, join(one, 'absolute'));
  symlinkSync('../../../../inside', join(one, 'dots'));
  symlinkSync('/proc/self/exe', join(one, 'magic'));
  const paths = ['/absolute', '/dots', '/magic', '../outside', '/../../inside'];
  const expected = [undefined, 'inside', undefined, undefined, 'inside'];
  assert.deepEqual(look([one], ...paths), expected);
  assert.deepEqual(look([one, layer('other', {})], ...paths), expected);
});

test('more layers than fit into a page are put together too', () => {
  const layers = Array.from({ length: 90 }, (_, index) =>
    layer(`many/${index}-${'x'.repeat(20)}`, { top: `${index}` }),
  );
  writeFileSync(join(layers[89] ?? '', 'last'), 'last');
  assert.ok(layers.join(':').length > 4096);
  const before = process.cwd();
  assert.deepEqual(look(layers, '/top', '/last'), ['0', 'last']);
  assert.equal(process.cwd(), before);
});

test('it happens in a mount namespace of its own', () => {
  const namespace = readlinkSync('/proc/thread-self/ns/mnt');
  const [top, bottom] = [layer('above', { a: '1' }), layer('below', { b: '2' })];
  const descriptors = native.openInLayers([top, bottom], ['/b']);
  assert.equal(readlinkSync('/proc/thread-self/ns/mnt'), namespace);
  assert.throws(() => readFileSync(join(top, 'b')), { code: 'ENOENT' });
  for (const fd of descriptors) closeSync(fd);
});

test('renames elsewhere on the machine do not disturb it', async () => {
  const busy = join(folder, 'busy');
  writeFileSync(busy, '');
  const script = 'while (true) for (const [from, to] of [["", 1], [1, ""]]) fs.renameSync(busy + from, busy + to)';
  const program = `const busy = ${JSON.stringify(busy)}; ${script}`;
  const renaming = spawn(process.execPath, ['-e', program], { stdio: 'ignore' });
  const links = layer('dotted', { file: 'found' });
  mkdirSync(join(links, 'a'));
  symlinkSync(`${'../a/'.repeat(200)}../../file`, join(links, 'a/link'));
  try {
    await once(renaming, 'spawn');
    const until = Date.now() + 1_000;
    while (Date.now() < until) assert.deepEqual(look([links], '/a/link'), ['found']);
  } finally {
    renaming.kill('SIGKILL');
    await once(renaming, 'exit');
  }
});

test('a layer that is not there is an error', () => {
  const missing = join(folder, 'missing');
  assert.throws(() => native.openInLayers([missing], ['/a']), { code: 'ENOENT', syscall: 'open', path: missing });
  assert.throws(() => native.openInLayers([layer('there', {}), missing], ['/a']), { code: 'ENOENT', syscall: 'mount' });
  assert.throws(() => native.openInLayers('x' as unknown as string[], ['/a']), TypeError);
});
