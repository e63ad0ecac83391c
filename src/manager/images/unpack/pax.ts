import { MalformedArchive } from './errors.ts';

/** The records of one extended header (pax, POSIX.1-2001), in order; values are bytes. */
export function parsePaxRecords(content: Buffer): [key: string, value: Buffer][] {
  const records: [string, Buffer][] = [];
  let at = 0;
  while (at < content.length) {
    const space = content.indexOf(0x20, at);
    const digits = space < 0 || space - at > 10 ? '' : content.toString('latin1', at, space);
    const end = at + Number(digits);
    const equals = content.indexOf(0x3d, space);
    const isWhole = /^[1-9][0-9]*$/.test(digits) && end <= content.length && content[end - 1] === 0x0a;
    if (!isWhole || equals < 0 || equals >= end) {
      // What follows the last record may be padding.
      if (content.subarray(at).every((byte) => byte === 0)) break;
      throw new MalformedArchive('an extended header of the archive is malformed');
    }
    records.push([content.toString('latin1', space + 1, equals), content.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}
