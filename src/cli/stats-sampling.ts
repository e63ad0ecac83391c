import type { Context } from './context.ts';
import { UsageError } from './failure.ts';
import type { OptionSpecs } from './options.ts';
import { untilInterrupted } from './signals.ts';
import { pause } from './time.ts';

/** The options of `stats` and `statsp` that say how it is measured. */
export const samplingOptions = {
  seconds: { type: 'whole', short: 's', help: 'how long the use of processors is measured (default 1)' },
  watch: { type: 'flag', short: 'w', help: 'measure again and again, until Ctrl-C' },
} as const satisfies OptionSpecs;

const defaultSeconds = 1;
const clearScreen = '\u001b[2J\u001b[H';

/** A meter of processor time, of which two readings make a share. */
export interface CpuReading {
  /** When it was read, in nanoseconds. */
  readonly timestamp: bigint;
  readonly usedNanoseconds: bigint;
}

/** Percent of one processor, such as "12.34". */
export function cpuPercent(before: CpuReading, after: CpuReading): string {
  const span = Number(after.timestamp - before.timestamp);
  const used = Number(after.usedNanoseconds - before.usedNanoseconds);
  // The server may answer twice with one and the same reading.
  return (span > 0 ? Math.max(0, (used / span) * 100) : 0).toFixed(2);
}

/** Reads twice, with a pause between, and shows; again and again with --watch. @throws {Failure} */
export async function sample<T>(
  context: Context,
  options: { readonly seconds: number | undefined; readonly watch: boolean },
  read: (signal: AbortSignal) => Promise<T>,
  show: (before: T, after: T) => string,
): Promise<void> {
  const seconds = options.seconds ?? defaultSeconds;
  if (seconds < 1) throw new UsageError('--seconds is at least 1');
  await untilInterrupted(async (signal) => {
    let before = await read(signal);
    do {
      await pause(seconds * 1000, signal);
      if (signal.aborted) return;
      const after = await read(signal);
      const clear = options.watch && context.stdout.isTerminal ? clearScreen : '';
      context.stdout.write(`${clear}${show(before, after)}`);
      before = after;
    } while (options.watch);
  });
}

/** Prints the data of one reading after the other. */
export async function watchData(
  options: { readonly seconds: number | undefined; readonly watch: boolean },
  print: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await untilInterrupted(async (signal) => {
    for (;;) {
      await print(signal);
      if (!options.watch) return;
      await pause((options.seconds ?? defaultSeconds) * 1000, signal);
      if (signal.aborted) return;
    }
  });
}
