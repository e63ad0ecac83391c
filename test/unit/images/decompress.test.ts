import assert from 'node:assert/strict';
import test from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { decompress } from '../../../src/manager/images/unpack/decompress.ts';

async function decompressed(bytes: Buffer, pieceBytes: number): Promise<Buffer> {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += pieceBytes)
      yield await Promise.resolve(bytes.subarray(at, at + pieceBytes));
  }
  const chunks: Buffer[] = [];
  for await (const chunk of decompress(pieces())) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const one = Buffer.from('one '.repeat(100_000));
const two = Buffer.from('two '.repeat(50_000));
const skippable = Buffer.from('502a4d1804000000deadbeef', 'hex');

test('gzip of several members, zstd of several frames, and what is neither come out whole', async () => {
  const forms = {
    plain: Buffer.concat([one, two]),
    gzip: Buffer.concat([gzipSync(one), gzipSync(two)]),
    zstd: Buffer.concat([zstdCompressSync(one), zstdCompressSync(two)]),
    'zstd with frames to skip': Buffer.concat([
      skippable,
      zstdCompressSync(one),
      skippable,
      zstdCompressSync(two),
      skippable,
    ]),
  };
  for (const [name, bytes] of Object.entries(forms)) {
    for (const pieceBytes of [bytes.length, 1000, 7]) {
      if (pieceBytes === 7 && name === 'plain') continue;
      assert.ok(
        (await decompressed(bytes, pieceBytes)).equals(Buffer.concat([one, two])),
        `${name}, ${pieceBytes} bytes at a time`,
      );
    }
  }
  assert.equal((await decompressed(Buffer.alloc(0), 1)).length, 0);
});

test('compressed content that is cut off or followed by something else is an error', async () => {
  for (const bytes of [gzipSync(one), zstdCompressSync(one)]) {
    await assert.rejects(decompressed(bytes.subarray(0, bytes.length - 3), 100));
    await assert.rejects(decompressed(Buffer.concat([bytes, Buffer.from('something')]), 100));
  }
  await assert.rejects(decompressed(Buffer.from('fd377a585a0000000000', 'hex'), 100), /xz/);
  await assert.rejects(decompressed(Buffer.from('BZh91AY&SY'), 100), /bzip2/);
});
