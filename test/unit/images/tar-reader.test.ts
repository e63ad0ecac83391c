import assert from 'node:assert/strict';
import test from 'node:test';
import { MalformedArchive } from '../../../src/manager/images/unpack/errors.ts';
import type { TarEntry } from '../../../src/manager/images/unpack/tar-entry.ts';
import { TarReader } from '../../../src/manager/images/unpack/tar-reader.ts';
import { header, padded, tarArchive } from '../../support/tar-archive.ts';
import { command } from '../../support/command.ts';
import { newScratch } from '../../support/scratch.ts';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

interface Read {
  entry: TarEntry;
  content: Buffer;
}

/** What the reader makes of an archive that comes in pieces of that size. */
function read(archive: Buffer, pieceBytes = archive.length): Read[] {
  const files: Read[] = [];
  const reader = new TarReader({
    begin: (entry) => files.push({ entry, content: Buffer.alloc(entry.size) }),
    write: (bytes, position) => void bytes.copy((files.at(-1) as Read).content, position),
    end: () => undefined,
  });
  for (let at = 0; at < archive.length; at += pieceBytes) reader.push(archive.subarray(at, at + pieceBytes));
  reader.end();
  return files;
}

/** What Debian's tar writes in that format of a folder with long names, links and a sparse file. */
async function realArchive(flags: string[]): Promise<Buffer> {
  const { folder } = newScratch();
  try {
    const root = `${folder}/root`;
    const long = `${'d'.repeat(90)}/${'e'.repeat(90)}`;
    mkdirSync(`${root}/${long}`, { recursive: true });
    writeFileSync(`${root}/${long}/${'f'.repeat(90)}`, 'long');
    writeFileSync(`${root}/sparse`, 'middle');
    const { code, stderr } = await command('sh', [
      '-c',
      `cd ${root} && printf end | dd of=sparse bs=1 seek=5000000 conv=notrunc status=none && tar -S ${flags.join(' ')} -cf ../a.tar .`,
    ]);
    assert.equal(code, 0, stderr);
    return readFileSync(`${folder}/a.tar`);
  } finally {
    await command('rm', ['-rf', folder]);
  }
}

for (const [name, flags] of Object.entries({
  'GNU tar': ['--format=gnu'],
  'pax with sparse format 0.0': ['--format=pax', '--sparse-version=0.0'],
  'pax with sparse format 0.1': ['--format=pax', '--sparse-version=0.1'],
  'pax with sparse format 1.0': ['--format=pax', '--sparse-version=1.0'],
})) {
  test(`${name} is read, in pieces of any size`, async () => {
    const archive = await realArchive(flags);
    for (const pieceBytes of [archive.length, 1000, 512, 77]) {
      const files = read(archive, pieceBytes);
      const sparse = files.find(({ entry }) => entry.path === './sparse');
      assert.ok(sparse);
      assert.equal(sparse.entry.size, 5_000_003);
      assert.equal(sparse.content.subarray(0, 6).toString(), 'middle');
      assert.equal(sparse.content.subarray(5_000_000).toString(), 'end');
      const long = files.find(({ content }) => content.toString('latin1') === 'long');
      assert.equal(long?.entry.path.length, 2 + 90 + 1 + 90 + 1 + 90);
    }
  });
}

test('an archive that is cut off anywhere is malformed, and never looks whole', () => {
  const archive = tarArchive([
    { name: 'a', content: 'x'.repeat(700) },
    { name: 'b', content: 'y', pax: { mtime: '1.5' } },
  ]);
  const ends = new Set<number>();
  for (let length = 1; length < archive.length; length++) {
    try {
      read(archive.subarray(0, length));
      ends.add(length);
    } catch (error) {
      assert.ok(error instanceof MalformedArchive);
    }
  }
  // Between two files, and within the end mark.
  assert.ok(
    [...ends].every((length) => [1536, 3584].includes(length) || length >= archive.length - 512),
    [...ends].slice(0, 5).join(),
  );
});

test('noise is refused', () => {
  let seed = 7;
  const noise = Buffer.from(
    Array.from({ length: 4096 }, () => ((seed = (seed * 1103515245 + 12345) & 0x7fffffff) >>> 16) & 0xff),
  );
  assert.throws(() => read(noise), MalformedArchive);
  const archive = tarArchive([
    { name: 'a', content: 'x', pax: { path: 'y'.repeat(300), 'SCHILY.xattr.user.a': 'b' } },
    { name: 'c', type: '1', target: 'a' },
  ]);
  for (let at = 0; at < 3000; at++) {
    const spoilt = Buffer.from(archive);
    spoilt.writeUInt8((at * 31) & 0xff, at % archive.length);
    try {
      read(spoilt, 700);
    } catch (error) {
      assert.ok(error instanceof MalformedArchive, String(error));
    }
  }
});

test('extended headers of one file are bounded together, those of many files are not', () => {
  const piece = Buffer.alloc(1024 * 1024, 'n');
  const extended = Buffer.concat([header({ name: 'long', type: 'L' }, piece.length), padded(piece)]);
  const file = header({ name: 'a' }, 0);
  const times = (count: number, part: Buffer) => Array.from({ length: count }, () => part);
  assert.throws(() => read(Buffer.concat([...times(9, extended), file]), 100_000), /extended headers/);
  const many = times(9, Buffer.concat([extended, file]));
  assert.equal(read(Buffer.concat([...many, Buffer.alloc(1024)]), 100_000).length, 9);
});
