import { MalformedArchive } from './errors.ts';
import { blockBytes, numberField } from './tar-header.ts';

/** A stretch of a sparse file that is in the archive. */
export interface Extent {
  offset: number;
  length: number;
}

/** More would be a file that was made to be slow. */
export const mostExtents = 65_536;

/** GNU's own format: up to 4 extents in the header, 21 in each block that follows. */
export function oldExtents(block: Buffer, isContinuation: boolean): { extents: Extent[]; continues: boolean } {
  const start = isContinuation ? 0 : 386;
  const count = isContinuation ? 21 : 4;
  const extents: Extent[] = [];
  for (let i = 0; i < count; i++) {
    const at = start + i * 24;
    if (block[at] === 0) break;
    extents.push({ offset: numberField(block, at, 12), length: numberField(block, at + 12, 12) });
  }
  return { extents, continues: block[isContinuation ? 504 : 482] !== 0 };
}

/** pax format 0.1: "offset,length,offset,length"; format 0.0 gives the same numbers one by one. */
export function extentsOf(numbers: readonly string[]): Extent[] {
  const extents: Extent[] = [];
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    extents.push({ offset: wholeNumber(numbers[i]), length: wholeNumber(numbers[i + 1]) });
  }
  if (numbers.length % 2 !== 0 || extents.length > mostExtents)
    throw new MalformedArchive('the map of a sparse file is malformed');
  return extents;
}

/**
 * pax format 1.0: the map is in front of the content, a number a line, padded to whole blocks.
 * undefined while more of it is needed.
 */
export function leadingMap(content: Buffer): { extents: Extent[]; bytes: number } | undefined {
  let at = 0;
  const next = (): number | undefined => {
    const end = content.indexOf(0x0a, at);
    if (end < 0) {
      if (content.length - at > 20) throw new MalformedArchive('the map of a sparse file is malformed');
      return undefined;
    }
    const value = wholeNumber(content.toString('latin1', at, end));
    at = end + 1;
    return value;
  };
  const count = next();
  if (count === undefined) return undefined;
  if (count > mostExtents) throw new MalformedArchive('the map of a sparse file is too long');
  const extents: Extent[] = [];
  for (let i = 0; i < count; i++) {
    const offset = next();
    const length = offset === undefined ? undefined : next();
    if (offset === undefined || length === undefined) return undefined;
    extents.push({ offset, length });
  }
  const bytes = Math.ceil(at / blockBytes) * blockBytes;
  return content.length < bytes ? undefined : { extents, bytes };
}

/** Checks that extents are in order, inside of the file, and as long together as what the archive holds. */
export function checkExtents(extents: readonly Extent[], storedBytes: number, fileBytes: number): void {
  let end = 0;
  let sum = 0;
  for (const { offset, length } of extents) {
    if (offset < end || offset + length > fileBytes)
      throw new MalformedArchive('the map of a sparse file is malformed');
    end = offset + length;
    sum += length;
  }
  if (sum !== storedBytes) throw new MalformedArchive('the map of a sparse file does not fit its content');
}

function wholeNumber(text: string | undefined): number {
  const value = text !== undefined && /^[0-9]{1,16}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) throw new MalformedArchive('the map of a sparse file has what is no number');
  return value;
}
