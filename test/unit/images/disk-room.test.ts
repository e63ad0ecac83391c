import assert from 'node:assert/strict';
import type { statfsSync } from 'node:fs';
import test from 'node:test';
import { DiskRoom } from '../../../src/manager/images/unpack/disk-room.ts';
import { DiskNearlyFull } from '../../../src/manager/images/unpack/errors.ts';

/** A disk of 100 blocks, with so many of them free. */
const room = (bavail: number, files: number, ffree: number) =>
  new DiskRoom('.', (() => ({ blocks: 100, bavail, files, ffree })) as unknown as typeof statfsSync);

test('writing ends before the disk is full', () => {
  const nearlyFull = room(4, 100, 50);
  nearlyFull.takeBytes(1024);
  assert.throws(() => nearlyFull.takeBytes(64 * 1024 * 1024), DiskNearlyFull);
  const manyFiles = room(50, 100, 1);
  for (let i = 1; i < 10_000; i++) manyFiles.takeFile();
  assert.throws(() => manyFiles.takeFile(), /inodes/);
});

test('a file system that does not count inodes has enough of them', () => {
  const uncounted = room(50, 0, 0);
  for (let i = 0; i < 20_000; i++) uncounted.takeFile();
  uncounted.takeBytes(64 * 1024 * 1024);
});
