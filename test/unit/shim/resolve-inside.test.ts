import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { resolveInside } from '../../../src/shim/resolve-inside.ts';

describe('a path in a rootfs', () => {
  const root = mkdtempSync(join(tmpdir(), 'berth-resolve-'));
  after(() => {
    rmSync(root, { recursive: true });
  });
  mkdirSync(join(root, 'var/run'), { recursive: true });
  mkdirSync(join(root, 'etc'));
  symlinkSync('/etc', join(root, 'absolute'));
  symlinkSync('../../../../../etc', join(root, 'var/out'));
  symlinkSync('run', join(root, 'var/relative'));
  symlinkSync('loop', join(root, 'loop'));
  symlinkSync('absolute', join(root, 'chain'));

  const cases: [string, string][] = [
    ['data', 'data'],
    ['/data/deeper', 'data/deeper'],
    ['absolute', 'etc'],
    ['absolute/passwd', 'etc/passwd'],
    ['chain/passwd', 'etc/passwd'],
    ['var/out/passwd', 'etc/passwd'],
    ['var/relative/x', 'var/run/x'],
    ['../../etc', 'etc'],
    ['.', ''],
  ];
  for (const [path, expected] of cases) {
    test(`${path} stays inside`, () => {
      assert.equal(resolveInside(root, path), join(root, expected));
    });
  }

  test('a link to itself is refused', () => {
    assert.throws(() => resolveInside(root, 'loop'), /too many links/);
  });
});
