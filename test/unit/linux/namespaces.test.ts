import assert from 'node:assert/strict';
import { existsSync, openSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { namespaceIdentity, namespacePath, readMountInfo, unpinNamespace } from '../../../src/linux/index.ts';
import { native, temporaryFolder, Watcher } from './addon.ts';

const folder = temporaryFolder();
const watcher = new Watcher();
after(() => watcher.loop.stop());

for (const kind of ['net', 'ipc', 'uts'] as const) {
  test(`a pinned ${kind} namespace is a new one, and the caller keeps its own`, () => {
    const path = join(folder, kind);
    const own = namespaceIdentity(namespacePath('self', kind));
    native.pinNewNamespace(kind, path);
    assert.notEqual(namespaceIdentity(path), own);
    assert.equal(namespaceIdentity(namespacePath('self', kind)), own);
    assert.throws(() => native.pinNewNamespace(kind, path), { code: 'EEXIST', syscall: 'open', path });
    unpinNamespace(path, native);
    assert.equal(existsSync(path), false);
    assert.equal(
      readMountInfo().some((mount) => mount.path === path),
      false,
    );
    unpinNamespace(path, native);
  });
}

test('a new network namespace has its loopback interface up, and no other', async () => {
  const path = join(folder, 'loopback');
  native.pinNewNamespace('net', path);
  const fd = openSync(path, 'r');
  const { output } = await watcher.shell('ip -o link; ip -o addr', { joinNamespaces: [fd] });
  assert.match(output, /lo: <LOOPBACK,UP,LOWER_UP>/);
  assert.match(output, /127\.0\.0\.1\/8/);
  assert.match(output, /::1\/128|^(?!.*inet6)/s);
  closeSync(fd);
  unpinNamespace(path, native);
});

test('a namespace that cannot be pinned leaves nothing', () => {
  const path = join(folder, 'missing/net');
  assert.throws(() => native.pinNewNamespace('net', path), { code: 'ENOENT', syscall: 'open', path });
  const kind = 'pid' as 'net';
  assert.throws(() => native.pinNewNamespace(kind, join(folder, 'pid')), { code: 'EINVAL' });
  assert.equal(existsSync(join(folder, 'pid')), false);
});
