import { createZstdDecompress } from 'node:zlib';
import { CorruptContent } from './errors.ts';

/**
 * Decompresses zstd, all frames of it: Node's own stream ends with the first, and layers often have several (pzstd, zstd:chunked).
 * So frames and their blocks are told apart here (RFC 8878), and each frame goes to a decompressor of its own.
 */
export async function* decompressZstd(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const frames = new FrameReader(source);
  while (await frames.next()) {
    const decompressor = createZstdDecompress({ chunkSize: 256 * 1024 });
    const feeding = feed(frames, decompressor);
    feeding.catch((error: unknown) => decompressor.destroy(error as Error));
    for await (const chunk of decompressor) yield chunk as Buffer;
    await feeding;
  }
}

async function feed(frames: FrameReader, decompressor: ReturnType<typeof createZstdDecompress>): Promise<void> {
  for await (const part of frames.parts()) {
    if (decompressor.destroyed) return;
    if (!decompressor.write(part)) {
      await new Promise<void>((resolve) => {
        const go = () => resolve();
        decompressor.once('drain', go).once('close', go);
      });
    }
  }
  decompressor.end();
}

class FrameReader {
  readonly #source: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Goes to the next frame that has content; false when there is none. */
  async next(): Promise<boolean> {
    for (;;) {
      if (!(await this.#has(1))) return false;
      await this.#require(4);
      const magic = this.#rest.readUInt32LE(0);
      if (magic === 0xfd2fb528) return true;
      if (magic >>> 4 !== 0x184d2a5) throw new CorruptContent('zstd content is followed by what is none');
      await this.#require(8);
      const length = this.#rest.readUInt32LE(4);
      this.#take(8);
      for (let left = length; left > 0;) {
        await this.#require(1);
        left -= this.#take(Math.min(left, this.#rest.length)).length;
      }
    }
  }

  /** The bytes of the frame that `next` has found. */
  async *parts(): AsyncGenerator<Buffer> {
    await this.#require(5);
    const descriptor = this.#rest[4] as number;
    const isSingle = (descriptor & 0x20) !== 0;
    const hasChecksum = (descriptor & 0x04) !== 0;
    const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
    const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][descriptor >>> 6] as number;
    const headerBytes = 5 + (isSingle ? 0 : 1) + dictionaryBytes + sizeBytes;
    await this.#require(headerBytes);
    yield this.#take(headerBytes);
    for (let isLast = false; !isLast;) {
      await this.#require(3);
      const header = this.#rest.readUIntLE(0, 3);
      isLast = (header & 1) !== 0;
      const isRepeated = ((header >>> 1) & 3) === 1;
      yield* this.#give(3 + (isRepeated ? 1 : header >>> 3));
    }
    if (hasChecksum) yield* this.#give(4);
  }

  async *#give(length: number): AsyncGenerator<Buffer> {
    for (let left = length; left > 0;) {
      await this.#require(1);
      const part = this.#take(Math.min(left, this.#rest.length));
      left -= part.length;
      yield part;
    }
  }

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }

  async #require(length: number): Promise<void> {
    if (!(await this.#has(length))) throw new CorruptContent('the zstd content is cut off');
  }

  async #has(length: number): Promise<boolean> {
    while (this.#rest.length < length) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, next.value]) : next.value;
    }
    return true;
  }
}
