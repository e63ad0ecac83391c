import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { MalformedArchive } from '../../../src/manager/images/unpack/errors.ts';
import type { FileCalls } from '../../../src/manager/images/unpack/file-attributes.ts';
import { inherit } from '../../../src/manager/images/unpack/inherit.ts';
import { newScratch } from '../../support/scratch.ts';

const noAttributes: FileCalls = {
  mknod: () => assert.fail('no devices here'),
  changeRoot: () => assert.fail('the root stays'),
  setXattr: () => undefined,
  getXattr: () => undefined,
  listXattrs: () => [],
};

test('nothing is inherited to where a link leads', () => {
  const { folder: scratch } = newScratch();
  const [folder, lower, victim] = ['upper', 'lower', 'victim'].map((name) => join(scratch, name)) as [
    string,
    string,
    string,
  ];
  try {
    for (const made of [folder, lower, victim, join(victim, 'sub')]) mkdirSync(made);
    mkdirSync(join(lower, 'a'));
    mkdirSync(join(lower, 'a', 'sub'), { mode: 0o700 });
    for (const name of ['payload', 'a/payload']) writeFileSync(join(lower, name), 'evil');
    symlinkSync(victim, join(folder, 'a'));
    for (const [path, target] of [
      ['a/evil', 'payload'],
      ['a/sub/evil', 'payload'],
      ['evil', 'a/payload'],
    ] as const) {
      const inheritance = { directories: ['a', 'a/sub'], links: [{ path, target }] };
      assert.throws(
        () => inherit(noAttributes, { kind: 'inherit', folder, lowers: [lower], inheritance }),
        MalformedArchive,
      );
    }
    assert.deepEqual(readdirSync(victim, { recursive: true }), ['sub']);
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
