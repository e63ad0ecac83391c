import { setTimeout as sleep } from 'node:timers/promises';

/** How many times as long tests wait for what comes late, on a machine that is slow: BERTH_TEST_PATIENCE, default 1. */
export const patience = Number(process.env['BERTH_TEST_PATIENCE'] ?? 1);

/**
 * Looks again and again until `probe` gives something that is not undefined or false, and returns it.
 * A probe that throws is asked again too. Fails after `withinMilliseconds` (default 30,000) times
 * `patience`, with what the last look gave.
 */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  withinMilliseconds = 30_000,
): Promise<T> {
  const limit = withinMilliseconds * patience;
  const deadline = performance.now() + limit;
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
      throw new Error(`${what}: not within ${limit} ms`, last === undefined ? {} : { cause: last });
    }
    await sleep(25);
  }
}
