import { createHash, randomBytes } from 'node:crypto';
import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';

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
