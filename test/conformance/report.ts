import { count, type Test } from './results.ts';

const shownLines = 60;

export const say = (line: string): void => console.log(line);

export function loudly(title: string, lines: readonly string[]): void {
  const rule = '!'.repeat(100);
  say([rule, `!! ${title}`, ...lines.map((line) => `!! ${line}`), rule].join('\n'));
}

/** A suite's counts, what it skipped and what failed, with the end of what it said. */
export function report(who: string, suite: string, tests: readonly Test[], seconds: number, logPath: string): void {
  const { passed, failed, skipped } = count(tests);
  const figures = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  say(`${who.padEnd(5)} ${suite.padEnd(16)} ${figures.padEnd(34)} ${seconds.toFixed(1).padStart(6)} s`);
  for (const test of tests) {
    if (test.outcome === 'skipped') say(`      skipped ${test.name}: ${test.output.join(' ').trim()}`);
    if (test.outcome !== 'failed') continue;
    say(`      FAILED ${test.name} (the whole log: ${logPath})`);
    for (const line of test.output.slice(-shownLines)) say(`        ${line}`);
  }
}
