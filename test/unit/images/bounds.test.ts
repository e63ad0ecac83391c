import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { Code, isRpcError } from '../../../src/grpc/index.ts';
import { Blobs } from '../../../src/manager/images/blobs.ts';
import { credentialsKey, writeAuthFile } from '../../../src/manager/images/credentials.ts';
import { digestOf } from '../../../src/manager/images/digest.ts';
import { parseReference } from '../../../src/manager/images/reference.ts';
import { DiskRoom } from '../../../src/manager/images/unpack/disk-room.ts';
import { ArchiveExtractor } from '../../../src/manager/images/unpack/extract.ts';
import { TarReader } from '../../../src/manager/images/unpack/tar-reader.ts';
import { newScratch } from '../../support/scratch.ts';
import { tarArchive } from '../../support/tar-archive.ts';

async function inScratch(use: (folder: string) => Promise<void> | void): Promise<void> {
  const { folder } = newScratch();
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a blob that is too large for a document is not read', async () => {
  await inScratch(async (folder) => {
    const blobs = new Blobs(folder);
    const content = Buffer.from('a layer');
    const digest = digestOf(content);
    writeFileSync(blobs.path(digest), content);
    assert.deepEqual(await blobs.read(digest, content.length), content);
    await assert.rejects(blobs.read(digest, content.length - 1), (error) => isRpcError(error, Code.FailedPrecondition));
  });
});

test('an archive of images has no link to an endless name', async () => {
  await inScratch((folder) => {
    const reader = new TarReader(new ArchiveExtractor(folder, new DiskRoom(folder)));
    const archive = tarArchive([{ name: 'a', type: '2', target: 'b'.repeat(2000) }]);
    assert.throws(() => reader.push(archive), /no archive of images/);
  });
});

test('a pull gets the credentials of its registry, and what tells callers apart does not have them', async () => {
  await inScratch((folder) => {
    const configured = join(folder, 'configured.json');
    const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
    const auths = {
      'https://index.docker.io/v1/': auth('a:1'),
      'docker.io/team': auth('b:2'),
      'other.example': auth('c:3'),
    };
    writeFileSync(configured, JSON.stringify({ auths }));
    const own = { username: 'me', password: 'secret' };
    const path = writeAuthFile(parseReference('busybox'), own, configured, folder);
    const written = JSON.parse(readFileSync(path ?? '', 'utf8')) as { auths: object };
    assert.deepEqual(Object.keys(written.auths).sort(), [
      'docker.io/library/busybox',
      'docker.io/team',
      'https://index.docker.io/v1/',
    ]);
    assert.doesNotMatch(credentialsKey(own), /secret/);
    assert.notEqual(credentialsKey(own), credentialsKey({ ...own, password: 'other' }));
  });
});
