import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes a file of random bytes; gives their sha256 in hex. What is random cannot be completed, repeated or reordered unnoticed. */
export function writeRandomFile(path: string, byteCount: number): string {
  const bytes = randomBytes(byteCount);
  writeFileSync(path, bytes);
  return createHash('sha256').update(bytes).digest('hex');
}

/** sha256 of a file in hex. */
export function digestOf(path: string): string {
  const hash = createHash('sha256');
  const fd = openSync(path, 'r');
  try {
    const piece = Buffer.alloc(1024 * 1024);
    for (let count = readSync(fd, piece); count > 0; count = readSync(fd, piece)) hash.update(piece.subarray(0, count));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex');
}

/** The size of all files directly in a folder, in bytes. */
export function folderBytes(folder: string): number {
  return readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
}
