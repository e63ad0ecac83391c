/** One record of a CRI log file: "TIME STREAM TAGS CONTENT". A long line is several: "P" (partial) ones and an "F" (full) one at the end. */
export interface LogRecord {
  /** RFC 3339, as it is in the file. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  readonly partial: boolean;
  readonly content: Buffer;
}

const blank = 0x20;

/** Undefined for a line that is no record. The line comes without its newline. */
export function parseRecord(line: Buffer): LogRecord | undefined {
  const first = line.indexOf(blank);
  const second = first < 0 ? -1 : line.indexOf(blank, first + 1);
  if (second < 0) return undefined;
  // An empty content may come without the blank before it.
  const third = line.indexOf(blank, second + 1);
  const end = third < 0 ? line.length : third;
  const stream = line.toString('latin1', first + 1, second);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const [tag] = line.toString('latin1', second + 1, end).split(':');
  if (tag !== 'P' && tag !== 'F') return undefined;
  return {
    time: line.toString('latin1', 0, first),
    stream,
    partial: tag === 'P',
    content: third < 0 ? Buffer.alloc(0) : line.subarray(third + 1),
  };
}
