import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { readMountInfo } from '../../../../src/linux/index.ts';
import { ImageAccounts } from '../../../../src/manager/spec/index.ts';
import { native, temporaryFolder } from '../../linux/addon.ts';
import { refuses } from './configs.ts';

const folder = temporaryFolder();
let count = 0;

/** A layer with an etc that `fill` fills. */
function layer(fill: (etc: string, layer: string) => void = () => undefined): string {
  const path = join(folder, `layer${count++}`);
  mkdirSync(join(path, 'etc'), { recursive: true });
  fill(join(path, 'etc'), path);
  return path;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

const withRoot = () => layer((etc) => write(join(etc, 'passwd'), 'root:x:0:0::/:\n'));

function users(...layers: string[]): string[] {
  return new ImageAccounts(native).of('sha256:aa', layers).users.map(({ name }) => name);
}

function refusesToRead(layers: string[], why: RegExp): void {
  refuses(() => users(...layers), why, Code.FailedPrecondition);
}

test('users and groups are those of the image', () => {
  const files = layer((etc) => {
    write(join(etc, 'passwd'), 'web:x:7:8::/:\n');
    write(join(etc, 'group'), 'web:x:8:\nlogs:x:9:web,other\n');
  });
  assert.deepEqual(new ImageAccounts(native).of('sha256:aa', [files]), {
    users: [{ name: 'web', uid: 7, gid: 8 }],
    groups: [
      { name: 'web', gid: 8, members: [] },
      { name: 'logs', gid: 9, members: ['web', 'other'] },
    ],
  });
});

test('an image without the files, or without layers, knows nobody', () => {
  assert.deepEqual(users(layer()), []);
  assert.deepEqual(users(layer((etc) => rmSync(etc, { recursive: true }))), []);
  const fileForFolder = layer((etc) => {
    rmSync(etc, { recursive: true });
    write(etc, 'a file');
  });
  assert.deepEqual(users(fileForFolder), []);
  assert.deepEqual(users(), []);
});

test('upper layers hide lower ones, and their whiteouts take files away', () => {
  const changed = layer((etc) => write(join(etc, 'passwd'), 'new:x:1:1::/:\n'));
  const removed = layer((etc) => {
    assert.equal(spawnSync('mknod', [join(etc, 'passwd'), 'c', '0', '0']).status, 0);
  });
  assert.deepEqual(users(changed, withRoot()), ['new']);
  assert.deepEqual(users(withRoot(), changed), ['root']);
  assert.deepEqual(users(layer(), layer(), withRoot()), ['root']);
  assert.deepEqual(users(removed, withRoot()), []);
  assert.deepEqual(users(removed), []);
});

test('a link of one layer to a file of another is followed', () => {
  const link = layer((etc) => symlinkSync('/nix/store/passwd', join(etc, 'passwd')));
  const target = layer((_, path) => write(join(path, 'nix/store/passwd'), 'nix:x:1:1::/:\n'));
  assert.deepEqual(users(link, target), ['nix']);
});

test('links lead nowhere outside of the image', () => {
  const secret = join(folder, 'secret');
  write(secret, 'outside:x:1:1::/:\n');
  const targets = [
    secret,
    '/etc/passwd.of.the.host',
    `../../../../../../../../..${secret}`,
    `/proc/self/root${secret}`,
    '/proc/1/root/etc/passwd',
  ];
  for (const target of targets) {
    const link = () => layer((etc) => symlinkSync(target, join(etc, 'passwd')));
    assert.deepEqual(users(link()), [], target);
    assert.deepEqual(users(link(), layer()), [], target);
  }
  const folderLink = layer((etc) => {
    rmSync(etc, { recursive: true });
    symlinkSync('/etc', etc);
  });
  refusesToRead([folderLink], /ELOOP|too many/i);
});

test('what is no regular file is not opened', () => {
  const fifo = layer((etc) => native.mkfifo(join(etc, 'passwd'), 0o666));
  refusesToRead([fifo], /passwd .*not a regular file/);
  refusesToRead([layer(), fifo], /passwd .*not a regular file/);
  // Whoever opened this one would make the terminal its own.
  const device = layer((etc) => assert.equal(spawnSync('mknod', [join(etc, 'passwd'), 'c', '5', '2']).status, 0));
  refusesToRead([device], /passwd .*not a regular file/);
  refusesToRead([layer((etc) => mkdirSync(join(etc, 'passwd')))], /not a regular file/);
  refusesToRead([layer((etc) => mkdirSync(join(etc, 'group')))], /group .*not a regular file/);
  const loop = layer((etc) => symlinkSync('passwd', join(etc, 'passwd')));
  refusesToRead([loop], /passwd.*(ELOOP|too many)/i);
});

test('a file of a gigabyte is not read', () => {
  const large = layer((etc) => {
    write(join(etc, 'passwd'), 'root:x:0:0::/:\n');
    truncateSync(join(etc, 'passwd'), 1 << 30);
  });
  refusesToRead([large], /1073741824 bytes, more than 4194304/);
});

test('an image is read once, unless its files are large', () => {
  const counted = { calls: 0 };
  const accounts = new ImageAccounts({
    openInLayers: (layers, paths) => {
      counted.calls += 1;
      return native.openInLayers(layers, paths);
    },
  });
  const small = withRoot();
  const large = layer((etc) => write(join(etc, 'passwd'), `root:x:0:0::/:\n${'#'.repeat(100_000)}\n`));
  for (let i = 0; i < 3; i++) accounts.of('sha256:small', [small]);
  assert.equal(counted.calls, 1);
  for (let i = 0; i < 3; i++) assert.equal(accounts.of('sha256:large', [large]).users.length, 1);
  assert.equal(counted.calls, 4);
});

test('nothing is left of it: no descriptor and no mount', () => {
  const layers = [layer(), withRoot(), layer()];
  const before = readdirSync('/proc/self/fd').length;
  users(...layers);
  refusesToRead([layer((etc) => mkdirSync(join(etc, 'group'))), withRoot()], /not a regular file/);
  assert.equal(readdirSync('/proc/self/fd').length, before);
  assert.deepEqual(
    readMountInfo().filter(({ path }) => path.startsWith(folder)),
    [],
  );
});
