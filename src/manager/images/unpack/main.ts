/** The process that unpacks: it runs beside the daemon, does one task after the other, and ends with it. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, read } from 'node:fs';
import { promisify } from 'node:util';
import { isSystemError, loadNative } from '../../../linux/index.ts';
import { decompress } from './decompress.ts';
import { DiskRoom } from './disk-room.ts';
import { CorruptContent, DiskNearlyFull, MalformedArchive } from './errors.ts';
import { ArchiveExtractor } from './extract.ts';
import type { FileCalls } from './file-attributes.ts';
import { inherit } from './inherit.ts';
import { LayerWriter } from './layer-writer.ts';
import type { Answer, FailureKind, Results, Task } from './protocol.ts';
import { TarReader } from './tar-reader.ts';

const readBytes = 512 * 1024;
const progressMilliseconds = 100;

const [addonPath = '', parent = ''] = process.argv.slice(2);
const native = loadNative(addonPath);
native.dieWithParent(Number(parent));
process.umask(0o022);
const hostRoot = openSync('/', 'r');
/** For one layer after the other, so that many small ones count as well. */
const layerRoom = new DiskRoom('.');

function answer(message: Answer): void {
  process.send?.(message);
}

/** Passes chunks on, and tells now and then how many bytes they were. */
async function* counted(source: AsyncIterable<Buffer>, each: (chunk: Buffer) => void): AsyncGenerator<Buffer> {
  let bytes = 0;
  let told = performance.now();
  for await (const chunk of source) {
    each(chunk);
    bytes += chunk.length;
    if (performance.now() - told > progressMilliseconds) {
      told = performance.now();
      answer({ kind: 'progress', bytes });
    }
    yield chunk;
  }
}

const readSome = promisify(read);

async function* contentOf(fd: number): AsyncGenerator<Buffer> {
  for (;;) {
    const { bytesRead, buffer } = await readSome(fd, Buffer.allocUnsafe(readBytes), 0, readBytes, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

async function unpack(task: Extract<Task, { kind: 'unpack' }>): Promise<Results['unpack']> {
  const blob = openSync(task.blob, 'r');
  const folder = openSync(task.folder, 'r');
  const blobHash = createHash('sha256');
  const diffHash = createHash('sha256');
  const writer = new LayerWriter(native satisfies FileCalls, layerRoom);
  const reader = new TarReader(writer);
  native.changeRoot(folder);
  try {
    const hashed = counted(contentOf(blob), (chunk) => blobHash.update(chunk));
    for await (const chunk of decompress(hashed)) {
      diffHash.update(chunk);
      reader.push(chunk);
    }
    reader.end();
    const unpacked = writer.finish();
    checkDigests(task, blobHash.digest('hex'), diffHash.digest('hex'));
    return unpacked;
  } finally {
    writer.close();
    native.changeRoot(hostRoot);
    closeSync(folder);
    closeSync(blob);
  }
}

function checkDigests(task: Extract<Task, { kind: 'unpack' }>, blob: string, diff: string): void {
  if (`sha256:${blob}` !== task.blobDigest)
    throw new CorruptContent(`the blob is sha256:${blob}, not ${task.blobDigest}`);
  if (`sha256:${diff}` !== task.diffId) {
    throw new CorruptContent(
      `the layer is sha256:${diff} when it is decompressed; the image's configuration says ${task.diffId}`,
    );
  }
}

async function extract(task: Extract<Task, { kind: 'extract' }>): Promise<Results['extract']> {
  const extractor = new ArchiveExtractor(task.folder, new DiskRoom(task.folder));
  const reader = new TarReader(extractor);
  const input = counted(process.stdin as AsyncIterable<Buffer>, () => undefined);
  for await (const chunk of decompress(input)) reader.push(chunk);
  reader.end();
  return extractor.finish();
}

async function run(task: Task): Promise<Results[Task['kind']]> {
  switch (task.kind) {
    case 'unpack':
      return await unpack(task);
    case 'inherit':
      return inherit(native, task);
    case 'extract':
      return await extract(task);
  }
}

function failureKind(error: unknown): FailureKind {
  if (error instanceof MalformedArchive) return 'malformed';
  if (error instanceof CorruptContent) return 'corrupt';
  if (error instanceof DiskNearlyFull || isSystemError(error, 'ENOSPC', 'EDQUOT')) return 'noSpace';
  // What the decompressor says of damaged content.
  if (error instanceof Error && 'code' in error && /^(?:Z_|ZSTD_)/.test(String(error.code))) return 'corrupt';
  // Names that are too long, or links that lead in circles.
  if (isSystemError(error, 'ENAMETOOLONG', 'ELOOP', 'ENOTDIR', 'EINVAL', 'EISDIR', 'ENOENT', 'EMLINK'))
    return 'malformed';
  return 'internal';
}

process.on('message', (task: Task) => {
  run(task).then(
    (result) => answer({ kind: 'done', result }),
    (error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      answer({ kind: 'failed', failure: failureKind(error), message });
    },
  );
});
process.on('disconnect', () => process.exit(0));
answer({ kind: 'ready' });
