import assert from 'node:assert/strict';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import { loadNative } from '../../src/linux/index.ts';
import { ImageBed } from '../support/image-bed.ts';
import { nativeAddon } from '../support/paths.ts';
import { header, padded, sealed, tarArchive, type TarFile } from '../support/tar-archive.ts';

const native = loadNative(nativeAddon);

/** The layers of an image of these archives, bottom first, unpacked. */
async function unpacked(bed: ImageBed, ...layers: (TarFile[] | Buffer)[]): Promise<string[]> {
  const id = await bed.load(layers.map((layer) => (Buffer.isBuffer(layer) ? layer : tarArchive(layer))));
  return bed.images.layers(id).reverse();
}

/** The image as a container sees it. */
function overlaid(bed: ImageBed, layers: readonly string[], look: (root: string) => void): void {
  const root = join(bed.folder, 'merged');
  const [upper, work] = ['upper', 'work'].map((name) => join(bed.folder, name)) as [string, string];
  for (const folder of [root, upper, work]) mkdirSync(folder);
  const lowers = [...layers].reverse().join(':');
  native.mount('overlay', root, 'overlay', [`lowerdir=${lowers}`, `upperdir=${upper}`, `workdir=${work}`]);
  try {
    look(root);
  } finally {
    native.umount(root, 0);
    for (const folder of [root, upper, work]) rmSync(folder, { recursive: true });
  }
}

const loadFails = async (bed: ImageBed, code: Code, message: RegExp, files: TarFile[] | Buffer): Promise<void> => {
  await assert.rejects(unpacked(bed, files), (error) => {
    assert.ok(isRpcError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  });
  await bed.assertTidy();
};

const mode = (path: string) => lstatSync(path).mode & 0o7777;

test('owners, modes, times, links, devices and long names are as the layer says', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const long = `${'n'.repeat(120)}/${'m'.repeat(200)}`;
  const [root = ''] = await unpacked(bed, [
    { name: './', mode: 0o711, uid: 3 },
    { name: 'bin/', mode: 0o1777, uid: 1, gid: 2 },
    { name: 'bin/su', content: 'su', mode: 0o4755, uid: 5, gid: 6, mtime: 1_234_567_890 },
    { name: 'bin/hard', type: '1', target: 'bin/su' },
    { name: 'bin/soft', type: '2', target: '/absolute/nowhere', uid: 7 },
    { name: 'later', type: '1', target: 'bin/later' },
    { name: 'bin/later', content: 'later' },
    { name: 'dev/null', type: '3', device: [1, 3], mode: 0o666 },
    { name: 'dev/loop', type: '4', device: [7, 300], mode: 0o660, gid: 6 },
    { name: 'dev/fifo', type: '6', mode: 0o622 },
    { name: long, content: 'long' },
    { name: 'link', type: '2', target: `/${long}` },
    { name: 'big-ids', content: '', pax: { uid: '3000000', gid: '4000000000', mtime: '1700000000.25' } },
    { name: 'x', content: '', pax: { path: 'f\u00fcr/\u65e5\u672c' } },
    { name: 'replaced', content: 'old' },
    { name: 'replaced/', mode: 0o700 },
    { name: 'replaced/by', content: 'new' },
    { name: 'empty/', mtime: 5 },
    { name: 'bin/', mode: 0o755, mtime: 77 },
  ]);
  const at = (name: string) => join(root, name);
  assert.deepEqual([mode(root), statSync(root).uid], [0o711, 3]);
  assert.deepEqual([mode(at('bin')), statSync(at('bin')).mtimeMs], [0o755, 77_000]);
  const su = statSync(at('bin/su'));
  assert.deepEqual([mode(at('bin/su')), su.uid, su.gid, su.mtimeMs, su.nlink], [0o4755, 5, 6, 1_234_567_890_000, 2]);
  assert.equal(statSync(at('bin/hard')).ino, su.ino);
  assert.equal(readlinkSync(at('bin/soft')), '/absolute/nowhere');
  assert.equal(lstatSync(at('bin/soft')).uid, 7);
  assert.equal(readFileSync(at('later'), 'utf8'), 'later');
  const device = (name: string) => [lstatSync(at(name)).rdev, mode(at(name))];
  assert.deepEqual(device('dev/null'), [0x103, 0o666]);
  assert.deepEqual(device('dev/loop'), [(0x70000 >> 8) | (300 & 0xff) | ((300 & ~0xff) << 12), 0o660]);
  assert.ok(lstatSync(at('dev/fifo')).isFIFO());
  assert.equal(readFileSync(at(long), 'utf8'), 'long');
  assert.equal(readlinkSync(at('link')), `/${long}`);
  const ids = statSync(at('big-ids'));
  assert.deepEqual([ids.uid, ids.gid, ids.mtimeMs], [3_000_000, 4_000_000_000, 1_700_000_000_250]);
  assert.ok(existsSync(at('f\u00fcr/\u65e5\u672c')));
  assert.equal(readFileSync(at('replaced/by'), 'utf8'), 'new');
  assert.equal(statSync(at('empty')).mtimeMs, 5000);
});

test('extended attributes are set, but none that overlayfs would obey', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
  const [root = ''] = await unpacked(bed, [
    {
      name: 'ping',
      content: 'x',
      mode: 0o755,
      uid: 1,
      pax: { 'SCHILY.xattr.security.capability': capability, 'SCHILY.xattr.user.note': 'a\0b' },
    },
    {
      name: 'dir/',
      pax: {
        'SCHILY.xattr.user.d': 'd',
        'SCHILY.xattr.trusted.overlay.redirect': '/etc',
        'SCHILY.xattr.trusted.overlay.opaque': 'y',
      },
    },
    { name: 'link', type: '2', target: 'ping', pax: { 'SCHILY.xattr.user.none': 'links cannot have it' } },
  ]);
  assert.deepEqual(native.getXattr(join(root, 'ping'), 'security.capability'), capability);
  assert.equal(native.getXattr(join(root, 'ping'), 'user.note')?.toString(), 'a\0b');
  assert.deepEqual(native.listXattrs(join(root, 'dir')), ['user.d']);
});

test('sparse files take only the space of what is in them', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const holes = {
    'GNU.sparse.major': '1',
    'GNU.sparse.minor': '0',
    'GNU.sparse.name': 'sparse',
    'GNU.sparse.realsize': '1000000000',
  };
  const content = Buffer.concat([
    padded(Buffer.from('2\n500000000\n5\n999999990\n3\n')),
    Buffer.from('inside'.slice(0, 5) + 'end'),
  ]);
  const [root = ''] = await unpacked(bed, [{ name: 'GNUSparseFile.0/sparse', content, pax: holes }]);
  const stats = statSync(join(root, 'sparse'));
  assert.equal(stats.size, 1_000_000_000);
  assert.ok(stats.blocks * 512 < 100_000);
});

test('a whiteout hides the file below it, an opaque directory all of them, and neither what its own layer has', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const layers = await unpacked(
    bed,
    ['a', 'b', 'dir/x', 'dir/y', 'opaque/old', 'again/old', 'both/old', 'kept/x'].map((name) => ({
      name,
      content: 'lower',
    })),
    [
      { name: '.wh.a', content: '' },
      { name: 'dir/.wh.x', content: '' },
      { name: 'opaque/new', content: 'upper' },
      { name: 'opaque/.wh..wh..opq', content: '' },
      { name: '.wh.again', content: '' },
      { name: 'again/new', content: 'upper' },
      { name: 'both/new', content: 'upper' },
      { name: '.wh.both', content: '' },
      { name: '.wh.b', content: '' },
      { name: 'b', content: 'upper' },
      { name: '.wh..wh.plnk/', content: '' },
      { name: 'kept/.wh.not-there', content: '' },
    ],
  );
  overlaid(bed, layers, (root) => {
    assert.deepEqual(readdirSync(root).sort(), ['again', 'b', 'both', 'dir', 'kept', 'opaque']);
    assert.deepEqual(readdirSync(join(root, 'dir')), ['y']);
    for (const name of ['opaque', 'again', 'both']) assert.deepEqual(readdirSync(join(root, name)), ['new'], name);
    assert.equal(readFileSync(join(root, 'b'), 'utf8'), 'upper');
    assert.deepEqual(readdirSync(join(root, 'kept')), ['x']);
  });
});

test('a directory that a layer does not name keeps what it is below, and a file below can be linked to', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const layers = await unpacked(
    bed,
    [
      { name: './', mode: 0o755 },
      { name: 'tmp/', mode: 0o1777, uid: 8, mtime: 9, pax: { 'SCHILY.xattr.user.t': 't' } },
      { name: 'home/', mode: 0o700 },
      { name: 'home/file', content: 'below', mode: 0o640, uid: 4, pax: { 'SCHILY.xattr.user.f': 'f' } },
      { name: 'gone/', mode: 0o700 },
    ],
    [{ name: '.wh.gone', content: '' }],
    [
      { name: 'tmp/new', content: '' },
      { name: 'gone/new', content: '' },
      { name: 'linked', type: '1', target: 'home/file' },
    ],
  );
  overlaid(bed, layers, (root) => {
    const tmp = statSync(join(root, 'tmp'));
    assert.deepEqual([mode(join(root, 'tmp')), tmp.uid, tmp.mtimeMs], [0o1777, 8, 9000]);
    assert.equal(native.getXattr(join(root, 'tmp'), 'user.t')?.toString(), 't');
    assert.equal(mode(join(root, 'gone')), 0o755, 'it is another one than that which was removed');
    const file = statSync(join(root, 'home/file'));
    assert.equal(readFileSync(join(root, 'linked'), 'utf8'), 'below');
    assert.deepEqual([statSync(join(root, 'linked')).ino, mode(join(root, 'linked')), file.uid], [file.ino, 0o640, 4]);
    assert.equal(native.getXattr(join(root, 'linked'), 'user.f')?.toString(), 'f');
    assert.equal(mode(join(root, 'home')), 0o700);
  });
});

test('no layer writes outside of its folder', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const victim = join(bed.folder, 'victim');
  mkdirSync(victim, { mode: 0o755 });
  writeFileSync(join(victim, 'file'), 'untouched', { mode: 0o644 });
  const malformed = (message: RegExp, files: TarFile[] | Buffer) =>
    loadFails(bed, Code.FailedPrecondition, message, files);
  const up = '../'.repeat(20);
  await malformed(/leads out/, [{ name: `${up}${victim.slice(1)}/new`, content: 'x' }]);
  await malformed(/leads out/, [{ name: 'a/../../b', content: 'x' }]);
  await malformed(/leads out/, [{ name: 'link', type: '1', target: `${up}${victim.slice(1)}/file` }]);
  await malformed(/leads out/, [{ name: '../.wh.victim', content: '' }]);
  await malformed(/hides no file/, [{ name: 'a/.wh...', content: '' }]);
  await malformed(/hard link to/, [{ name: 'link', type: '1', target: `${victim}/file` }]);
  await malformed(/no directory/, [
    { name: 'file', content: 'x' },
    { name: 'file/in', content: 'x' },
  ]);
  await malformed(/no directory/, [
    { name: 'to', type: '2', target: victim },
    { name: 'to/new', content: 'x' },
  ]);
  await malformed(/no directory/, [
    { name: 'to', type: '2', target: `${up}${victim.slice(1)}` },
    { name: 'to/.wh.file', content: '' },
  ]);
  await malformed(/not a tar archive/, Buffer.from('PK\x03\x04 this is a zip file'.padEnd(2048)));
  await malformed(/cut off/, tarArchive([{ name: 'a', content: 'x'.repeat(5000) }]).subarray(0, 3000));
  await malformed(/root of the layer/, [{ name: '.', type: '2', target: '/etc' }]);
  await malformed(/not supported/, [{ name: 'a', type: 'Q' }]);
  await malformed(/negative/, Buffer.concat([negativeSize(), Buffer.alloc(1024)]));

  // What leads out by an absolute path or a link stays inside.
  const [root = ''] = await unpacked(bed, [
    { name: `${victim}/file`, content: 'inside' },
    { name: 'in/', mode: 0o755 },
    { name: 'in/out', type: '2', target: victim },
    { name: 'in/out/file', content: 'through a link' },
    { name: 'in/out/sub/', mode: 0o777 },
    { name: 'dangling', type: '2', target: `${victim}/by-link` },
    { name: 'dangling', content: 'in its place' },
    { name: 'self', type: '2', target: '.' },
    { name: 'self/self/self/x', content: 'x' },
    { name: 'l', type: '2', target: `${victim}/file` },
    { name: 'hard', type: '1', target: 'l' },
  ]);
  assert.equal(readFileSync(join(root, victim, 'file'), 'utf8'), 'through a link');
  assert.equal(readFileSync(join(root, 'dangling'), 'utf8'), 'in its place');
  assert.ok(lstatSync(join(root, 'hard')).isSymbolicLink());
  assert.deepEqual(
    [readdirSync(victim), readFileSync(join(victim, 'file'), 'utf8'), mode(victim)],
    [['file'], 'untouched', 0o755],
  );
  assert.equal(mode(join(root, '..', '..')) & 0o077, 0, 'no other user gets to what is set-id in it');
});

test('a hard link to a lower layer that lies behind a link stays inside of its layer', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const victim = join(bed.folder, 'victim');
  mkdirSync(victim, { mode: 0o755 });
  const [, upper = ''] = await unpacked(
    bed,
    [{ name: 'payload', content: 'evil' }],
    [
      { name: `${victim}/`, mode: 0o755 },
      { name: 'a', type: '2', target: victim },
      { name: 'a/evil', type: '1', target: 'payload' },
      { name: 'a/implied/evil', type: '1', target: 'payload' },
    ],
  );
  assert.deepEqual(readdirSync(victim), []);
  assert.equal(readFileSync(join(upper, victim, 'evil'), 'utf8'), 'evil');
  assert.equal(lstatSync(join(upper, 'payload')).nlink, 3);
});

test('a tree that is deeper than a path is long is unpacked and removed', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const name = 'd'.repeat(200);
  const files: TarFile[] = [];
  for (let round = 0; round < 3; round++) {
    const base = Array.from({ length: round }, (_, i) => `s${i}`).at(-1);
    const prefix = base === undefined ? '' : `${base}/`;
    files.push({ name: `${prefix}${Array.from({ length: 18 }, () => name).join('/')}/` });
    files.push({
      name: `s${round}`,
      type: '2',
      target: `${prefix}${Array.from({ length: 18 }, () => name).join('/')}`,
    });
  }
  await unpacked(bed, files);
  const [image] = bed.images.list();
  await bed.images.remove(image?.id ?? '');
  assert.deepEqual(bed.layers(), []);
  await bed.assertTidy();
});

function negativeSize(): Buffer {
  const block = header({ name: 'a' }, 0);
  block.fill(0xff, 124, 136);
  return sealed(block);
}
