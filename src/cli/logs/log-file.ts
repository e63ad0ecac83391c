import { open, stat, type FileHandle } from 'node:fs/promises';
import { isSystemError } from '../failure.ts';
import { pause } from '../time.ts';
import { tailOffset } from './tail.ts';

const readBytes = 256 * 1024;
const pollMs = 100;
const newline = 0x0a;
/** A line that is longer is no CRI log; it is let go in pieces. */
const maxLineBytes = 4 * 1024 * 1024;

export interface FollowOptions {
  /** Only the last so many lines of what is there. Default: all. */
  readonly tail?: number | undefined;
  /** Whether to wait for more at the end of the file; asked there each time. Default: never. */
  readonly follow?: (() => Promise<boolean>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The lines of a log file, without their newlines, many at a time. Follows the path when the file is renamed and begun anew, after having
 * read the old one to its end; and begins anew when it is cut short.
 * @throws when the file is not there at the beginning
 */
export async function* logLines(path: string, options: FollowOptions = {}): AsyncGenerator<Buffer[]> {
  const { follow = () => Promise.resolve(false), signal } = options;
  let file = await open(path, 'r');
  try {
    let position = options.tail === undefined ? 0 : await tailOffset(file, options.tail);
    let rest: Buffer = Buffer.alloc(0);
    let last = false;
    while (signal?.aborted !== true) {
      const block = Buffer.alloc(readBytes);
      const { bytesRead } = await file.read(block, 0, readBytes, position);
      if (bytesRead > 0) {
        position += bytesRead;
        const lines: Buffer[] = [];
        rest = split(
          rest.length > 0 ? Buffer.concat([rest, block.subarray(0, bytesRead)]) : block.subarray(0, bytesRead),
          lines,
        );
        if (lines.length > 0) yield lines;
        continue;
      }
      const next = await successor(path, file, position);
      if (next === 'cut') {
        position = 0;
        rest = Buffer.alloc(0);
      } else if (next !== undefined) {
        if (await hasMore(file, position)) {
          await next.close();
          continue;
        }
        if (rest.length > 0) yield [rest];
        await file.close();
        file = next;
        position = 0;
        rest = Buffer.alloc(0);
      } else if (last) {
        // Asked after the container's end, so all that it wrote has been read.
        if (rest.length > 0) yield [rest];
        return;
      } else if (await follow()) {
        await pause(pollMs, signal);
      } else {
        last = true;
      }
    }
  } finally {
    await file.close();
  }
}

/** Appends whole lines; returns what is left. */
function split(text: Buffer, lines: Buffer[]): Buffer {
  let from = 0;
  for (let at = text.indexOf(newline); at >= 0; at = text.indexOf(newline, from)) {
    lines.push(text.subarray(from, at));
    from = at + 1;
  }
  const rest = text.subarray(from);
  if (rest.length <= maxLineBytes) return rest;
  lines.push(rest);
  return Buffer.alloc(0);
}

/** The file that has taken the place of this one, opened; 'cut' when this one is shorter than what was read. */
async function successor(path: string, file: FileHandle, position: number): Promise<FileHandle | 'cut' | undefined> {
  const own = await file.stat();
  if (own.size < position) return 'cut';
  try {
    const there = await stat(path);
    if (there.ino === own.ino && there.dev === own.dev) return undefined;
    return await open(path, 'r');
  } catch (error) {
    // Renamed, and the new one is not there yet; or removed.
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function hasMore(file: FileHandle, position: number): Promise<boolean> {
  return (await file.stat()).size > position;
}
