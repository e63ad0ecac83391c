import type { TestEvent } from 'node:test/reporters';
import { inspect } from 'node:util';

/** How one test of the guest ended. */
export interface GuestResult {
  /** The names of the suites that it is in, then its own. */
  names: string[];
  milliseconds: number;
  /** Why it failed; '' for one that passed. */
  failure: string;
}

/** What the guest tells the host, each as a line of JSON: that it is up, then a result for each test, then that this is all. */
export type GuestLine = 'booted' | GuestResult | 'all told';

/** What node:test reports with in the guest; suites are told in their tests' names. What tests print goes to the console. */
export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const line = (content: GuestLine) => `${JSON.stringify(content)}\n`;
  const names: string[] = [];
  for await (const { type, data } of source) {
    if (type === 'test:stdout' || type === 'test:stderr') process.stderr.write(data.message);
    if (type === 'test:start') names.splice(data.nesting, Infinity, data.name);
    if ((type !== 'test:pass' && type !== 'test:fail') || data.details.type === 'suite') continue;
    const { error } = type === 'test:fail' ? data.details : {};
    yield line({
      names: [...names.slice(0, data.nesting), data.name],
      milliseconds: Math.round(data.details.duration_ms),
      failure: error === undefined ? '' : inspect(error.cause instanceof Error ? error.cause : error),
    });
  }
  yield line('all told');
}
