import { writeSync } from 'node:fs';
import type { Sink } from './context.ts';

/** stdout or stderr of this process. Who reads it may go away: then there is nothing more to do, and the process ends quietly. */
export function sinkOf(stream: NodeJS.WriteStream): Sink {
  let unread = false;
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') {
      if (!unread) sink.whenUnread();
      unread = true;
      return;
    }
    writeSync(2, `berthctl: cannot write: ${error.message}\n`);
    process.exit(1);
  });
  const sink: Sink = {
    whenUnread: () => process.exit(0),
    write: (text) => void stream.write(text),
    drained: () =>
      stream.writableNeedDrain ? new Promise((resolve) => stream.once('drain', resolve)) : Promise.resolve(),
    // The types promise a boolean; a stream that is no terminal has none.
    isTerminal: (stream as { isTTY?: boolean }).isTTY === true,
    get columns() {
      return (stream as { columns?: number }).columns ?? 80;
    },
  };
  return sink;
}
