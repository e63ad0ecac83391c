import type { Context } from './context.ts';
import { Failure, messageOf } from './failure.ts';

/** How many calls are under way at once when there are many. */
const atOnce = 8;

/**
 * Does the same to several things, a few at a time. One that fails does not stop the others; the failures are told one by one, and
 * the last of them is thrown.
 */
export async function forEachOf(
  context: Context,
  items: readonly string[],
  work: (item: string) => Promise<void>,
): Promise<void> {
  const failures: Error[] = [];
  const waiting = [...new Set(items)];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      try {
        await work(item);
      } catch (error) {
        failures.push(error instanceof Error ? error : new Error(messageOf(error)));
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const last = failures.pop();
  for (const failure of failures) {
    context.say(`berthctl: ${messageOf(failure)}`);
    if (failure instanceof Failure && failure.next !== undefined) context.say(`  ${failure.next}`);
  }
  if (last !== undefined) throw last;
}
