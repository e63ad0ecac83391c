import type { FileHandle } from 'node:fs/promises';
import { parseRecord } from './record.ts';

const blockBytes = 64 * 1024;
const newline = 0x0a;

/** Where in a log file the last so many lines begin; a line in parts counts as one. Reads from the end. */
export async function tailOffset(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines <= 0) return size;
  let end = size;
  let rest = Buffer.alloc(0);
  let whole = 0;
  let start = size;
  const take = (line: Buffer, at: number): boolean => {
    // The end of a line before what is wanted: all after it is wanted.
    if (parseRecord(line)?.partial !== true && at + line.length + 1 <= size) {
      if (whole === lines) return true;
      whole += 1;
    }
    start = at;
    return false;
  };
  while (end > 0) {
    const begin = Math.max(0, end - blockBytes);
    const block = Buffer.alloc(end - begin);
    await file.read(block, 0, block.length, begin);
    const text = Buffer.concat([block, rest]);
    let stop = text.length;
    // Without the newline that ends the last line.
    if (begin + stop === size && text[stop - 1] === newline) stop -= 1;
    for (;;) {
      const before = text.lastIndexOf(newline, stop - 1);
      if (stop <= 0 || before < 0) break;
      if (take(text.subarray(before + 1, stop), begin + before + 1)) return start;
      stop = before;
    }
    rest = Buffer.from(text.subarray(0, stop));
    end = begin;
    if (begin === 0 && rest.length > 0) take(rest, 0);
  }
  return start;
}
