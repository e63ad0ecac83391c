import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Looks again and again until `probe` gives something that is not undefined or false, and returns it.
 * A probe that throws is asked again too. Fails after `withinMilliseconds` (default 10,000), with what the last look gave.
 */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  withinMilliseconds = 10_000,
): Promise<T> {
  const deadline = performance.now() + withinMilliseconds;
  let last: unknown;
  for (;;) {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`${what}: not within ${withinMilliseconds} ms`, last === undefined ? {} : { cause: last });
    }
    await sleep(25);
  }
}
