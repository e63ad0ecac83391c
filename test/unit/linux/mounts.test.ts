import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import { parseMountInfo, readMountInfo, unmountAllUnder } from '../../../src/linux/index.ts';
import type { MountPoint } from '../../../src/linux/index.ts';
import { native, temporaryFolder, until, Watcher } from './addon.ts';

const folder = temporaryFolder();
const watcher = new Watcher();
after(() => watcher.loop.stop());

function newFolder(name: string): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  return path;
}

function mountAt(path: string): MountPoint {
  const found = readMountInfo().filter((mount) => mount.path === path);
  assert.equal(found.length, 1, path);
  return found[0] as MountPoint;
}

test('options that are flags become flags, the rest is for the file system', () => {
  const target = newFolder('tmpfs');
  native.mount('tmpfs', target, 'tmpfs', ['nosuid', 'nodev', 'noexec', 'size=64k', 'mode=700', 'exec', 'noatime']);
  const { options, superOptions, type } = mountAt(target);
  assert.equal(type, 'tmpfs');
  for (const option of ['nosuid', 'nodev', 'noatime', 'rw']) assert.ok(options.includes(option), option);
  assert.ok(!options.includes('noexec'), 'the last of two that contradict each other counts');
  assert.ok(superOptions.includes('size=64k') && superOptions.includes('mode=700'));
  native.mount('tmpfs', target, 'tmpfs', ['remount', 'ro', 'size=128k']);
  assert.ok(mountAt(target).superOptions.includes('size=128k'));
  assert.throws(() => writeFileSync(join(target, 'x'), ''), { code: 'EROFS' });
  native.umount(target, 0);
});

test('a bind with flags has them; its source has not', () => {
  const source = newFolder('source');
  writeFileSync(join(source, 'file'), 'content');
  const target = newFolder('target');
  native.mount(source, target, 'bind', ['rbind', 'ro', 'nosuid', 'noexec']);
  const { options } = mountAt(target);
  for (const option of ['ro', 'nosuid', 'noexec']) assert.ok(options.includes(option), option);
  assert.throws(() => writeFileSync(join(target, 'file'), ''), { code: 'EROFS' });
  writeFileSync(join(source, 'file'), 'changed');
  assert.equal(readFileSync(join(target, 'file'), 'utf8'), 'changed');
  native.mount('', target, '', ['remount', 'bind', 'rw']);
  writeFileSync(join(target, 'file'), 'through the bind');
  native.umount(target, 0);
});

test('propagation is changed in a call of its own, with or without a mount', () => {
  const target = newFolder('propagation');
  native.mount(target, target, '', ['bind', 'shared']);
  assert.match(mountAt(target).propagation.join(), /^shared:/);
  native.mount('', target, '', ['rprivate']);
  assert.deepEqual(mountAt(target).propagation, []);
  native.mount('none', target, 'none', ['runbindable']);
  assert.deepEqual(mountAt(target).propagation, ['unbindable']);
  native.umount(target, 0);
});

test('what cannot be mounted throws with the target', () => {
  const path = join(folder, 'missing');
  assert.throws(() => native.mount('tmpfs', path, 'tmpfs', []), { code: 'ENOENT', syscall: 'mount', path });
  assert.throws(() => native.mount('x', folder, 'no-such-type', []), { code: 'ENODEV' });
  assert.throws(() => native.umount(folder, 0), { code: 'EINVAL', syscall: 'umount2', path: folder });
});

test('overlay takes more lower directories than fit into a page, and says so when it cannot', () => {
  const layers = Array.from({ length: 100 }, (_, index) => newFolder(`snapshots/${index}-${'x'.repeat(60)}/fs`));
  for (const [index, layer] of layers.entries()) {
    writeFileSync(join(layer, `file${index}`), `${index}`);
    writeFileSync(join(layer, 'top'), `${index}`);
  }
  const before = process.cwd();
  const target = newFolder('merged');
  const options = [`lowerdir=${layers.join(':')}`, `upperdir=${newFolder('upper')}`, `workdir=${newFolder('work')}`];
  assert.throws(() => native.mount('overlay', target, 'overlay', options), { code: 'E2BIG' });

  const short = layers.map((_, index) => newFolder(`s/${index}/${'y'.repeat(20)}`));
  for (const [index, layer] of short.entries()) writeFileSync(join(layer, 'top'), `${index}`);
  writeFileSync(join(short[99] ?? '', 'last'), 'last');
  const list = `lowerdir=${short.join(':')}`;
  assert.ok(list.length > 4096);
  native.mount('overlay', target, 'overlay', [...options.slice(1), list]);
  assert.equal(readFileSync(join(target, 'top'), 'utf8'), '0');
  assert.equal(readFileSync(join(target, 'last'), 'utf8'), 'last');
  writeFileSync(join(target, 'new'), 'in the upper one');
  assert.ok(existsSync(join(folder, 'upper/new')));
  native.umount(target, 0);
  assert.equal(process.cwd(), before);
});

test('overlay with few lower directories is mounted as it is', () => {
  const [lower, target] = [newFolder('one'), newFolder('of-one')];
  writeFileSync(join(lower, 'file'), 'content');
  native.mount('overlay', target, 'overlay', [`lowerdir=${lower}:${newFolder('two')}`]);
  assert.equal(readFileSync(join(target, 'file'), 'utf8'), 'content');
  native.umount(target, 0);
});

test('an image file is mounted by a loop device, which is free again after the unmount', async () => {
  const image = join(folder, 'image');
  writeFileSync(image, '');
  truncateSync(image, 4 << 20);
  assert.equal((await watcher.shell(`mkfs.ext4 -q ${image}`)).exit.exitCode, 0);
  const target = newFolder('image-mount');
  const { device, fd } = native.attachLoopDevice(image, false);
  native.mount(device, target, 'ext4', []);
  native.close(fd);
  writeFileSync(join(target, 'file'), 'in the image');
  assert.equal(statfsSync(target).type, 0xef53);
  native.umount(target, 0);
  const backing = `/sys/block/${basename(device)}/loop/backing_file`;
  await until(() => !existsSync(backing) || readFileSync(backing, 'utf8').trim() !== image);

  const readOnly = native.attachLoopDevice(image, true);
  assert.equal(readFileSync(`/sys/block/${basename(readOnly.device)}/ro`, 'utf8'), '1\n');
  native.mount(readOnly.device, target, 'ext4', ['ro']);
  native.close(readOnly.fd);
  assert.equal(readFileSync(join(target, 'file'), 'utf8'), 'in the image');
  native.umount(target, 0);
  const missing = join(folder, 'no-image');
  assert.throws(() => native.attachLoopDevice(missing, true), { code: 'ENOENT', syscall: 'open', path: missing });
});

test('everything under a folder is unmounted, newest first, and nothing beside it', () => {
  const [inside, beside] = [newFolder('under'), newFolder('under-another')];
  native.mount('tmpfs', beside, 'tmpfs', []);
  native.mount('tmpfs', inside, 'tmpfs', []);
  native.mount('tmpfs', newFolder('under/a b'), 'tmpfs', []);
  native.mount('tmpfs', newFolder('under/a b/c'), 'tmpfs', []);
  native.mount('tmpfs', inside, 'tmpfs', []);
  const unmounted = unmountAllUnder(inside, native);
  assert.deepEqual(unmounted, [inside, join(inside, 'a b/c'), join(inside, 'a b'), inside]);
  assert.deepEqual(
    readMountInfo()
      .map(({ path }) => path)
      .filter((path) => path.startsWith(folder)),
    [beside],
  );
  assert.deepEqual(unmountAllUnder(inside, native), []);
  native.umount(beside, 0);
});

test('lines of mountinfo are read with all their parts', () => {
  const text = [
    '36 35 98:0 /mnt1 /mnt\\040two rw,noatime shared:5 master:1 - ext3 /dev/root rw,errors=continue',
    '22 1 0:21 / /proc rw - proc proc rw',
    '23 1 0:22 / /tab\\011and\\134 rw,nosuid - tmpfs  rw',
    '',
  ].join('\n');
  const [first, second, third] = parseMountInfo(text);
  assert.deepEqual(first, {
    id: 36,
    parentId: 35,
    device: '98:0',
    root: '/mnt1',
    path: '/mnt two',
    options: ['rw', 'noatime'],
    propagation: ['shared:5', 'master:1'],
    type: 'ext3',
    source: '/dev/root',
    superOptions: ['rw', 'errors=continue'],
  });
  assert.deepEqual([second?.path, second?.propagation, second?.type], ['/proc', [], 'proc']);
  assert.deepEqual([third?.path, third?.source], ['/tab\tand\\', '']);
  assert.throws(() => parseMountInfo('nonsense\n'), SyntaxError);
});
