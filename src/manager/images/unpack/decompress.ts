import { createGunzip } from 'node:zlib';
import { pipeline, Readable } from 'node:stream';
import { MalformedArchive } from './errors.ts';
import { decompressZstd } from './zstd-frames.ts';

/**
 * Decompresses what is gzip or zstd by its first bytes, and passes on what is neither.
 * @throws MalformedArchive for compressions that layers do not have; what node:zlib throws for damaged content
 */
export async function* decompress(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  const chunks: Buffer[] = [];
  let bytes = 0;
  while (bytes < 6) {
    const next = await iterator.next();
    if (next.done === true) break;
    chunks.push(next.value);
    bytes += next.value.length;
  }
  const first = Buffer.concat(chunks);
  const whole = rejoin(first, iterator);
  const has = (...magic: number[]) => first.length >= magic.length && magic.every((byte, i) => first[i] === byte);
  if (has(0x1f, 0x8b)) yield* gunzip(whole);
  else if (
    has(0x28, 0xb5, 0x2f, 0xfd) ||
    (((first[0] ?? 0) & 0xf0) === 0x50 && first.subarray(1, 4).equals(skippable))
  ) {
    yield* decompressZstd(whole);
  } else if (has(0x42, 0x5a, 0x68)) throw new MalformedArchive('it is compressed with bzip2, which is not supported');
  else if (has(0xfd, 0x37, 0x7a, 0x58, 0x5a))
    throw new MalformedArchive('it is compressed with xz, which is not supported');
  else yield* whole;
}

const skippable = Buffer.from([0x2a, 0x4d, 0x18]);

async function* rejoin(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  for (;;) {
    const next = await rest.next();
    if (next.done === true) return;
    yield next.value;
  }
}

async function* gunzip(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const decompressor = createGunzip({ chunkSize: 256 * 1024 });
  // The error, if there is one, comes out of the loop below.
  pipeline(Readable.from(source), decompressor, () => undefined);
  for await (const chunk of decompressor) yield chunk as Buffer;
}
