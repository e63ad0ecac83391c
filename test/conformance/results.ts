/** Reads what a Go test program prints under `-test.v=test2json`: each outcome as soon as it is known, marked by a control character. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

export type Outcome = 'passed' | 'failed' | 'skipped';

export interface Test {
  /** The test's own name, without the entry point's and the configuration's. */
  name: string;
  outcome: Outcome;
  seconds: number;
  /** Its lines, those of its parts included. */
  output: string[];
}

const mark = /\x16/g;
const started = /^=== RUN\s+(\S+)$/;
const continued = /^=== (?:CONT|NAME)\s*(\S*)$/;
const ended = /^\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)$/;
const verdict = /^(PASS|FAIL)$/;
const outcomes: Record<string, Outcome> = { PASS: 'passed', FAIL: 'failed', SKIP: 'skipped' };

/**
 * The tests right under `parent` (their own parts decide their outcome and are not counted again). A test that began and never
 * ended counts as failed. A parent that failed though all its tests passed (the suite's own check for processes left behind)
 * gives one more failed test.
 * @param parent `TestShim/<configuration>`
 */
export function parseResults(text: string, parent: string): Test[] {
  const tests = new Map<string, Test>();
  const parentOutput: string[] = [];
  const depth = parent.split('/').length + 1;
  let current = '';
  let parentFailed = false;
  const testOf = (path: string): Test | undefined => {
    const name = path.startsWith(`${parent}/`) ? path.slice(parent.length + 1).split('/')[0] : undefined;
    if (name === undefined) return undefined;
    const test = tests.get(name) ?? { name, outcome: 'failed', seconds: 0, output: [] };
    tests.set(name, test);
    return test;
  };
  for (const line of text.replace(mark, '').split('\n')) {
    const begin = started.exec(line) ?? continued.exec(line);
    if (begin) {
      current = begin[1] ?? '';
      testOf(current);
      continue;
    }
    const [, word = '', path = '', seconds] = ended.exec(line) ?? [];
    if (word !== '') {
      current = '';
      if (path === parent) parentFailed = word === 'FAIL';
      if (path.split('/').length !== depth) continue;
      const test = testOf(path);
      if (test) Object.assign(test, { outcome: outcomes[word], seconds: Number(seconds) });
      continue;
    }
    const test = testOf(current);
    if (test) test.output.push(line);
    else if (line.trim() && !verdict.test(line)) parentOutput.push(line);
  }
  const all = [...tests.values()];
  if (parentFailed && !all.some((test) => test.outcome === 'failed')) {
    all.push({ name: '(the suite as a whole)', outcome: 'failed', seconds: 0, output: parentOutput });
  }
  return all;
}

/** What suites found: each test, and what is wrong, a line for each thing. */
export interface Findings {
  tests: Test[];
  problems: string[];
}

export type Counts = Record<Outcome, number>;

export function count(tests: readonly Test[]): Counts {
  const of = (outcome: Outcome) => tests.filter((test) => test.outcome === outcome).length;
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') };
}

/** A test that is known to fail: known-gaps.json has a list of these, which only shrinks. */
export interface Gap {
  suite: string;
  test: string;
  why: string;
}

export async function readGaps(): Promise<Gap[]> {
  return JSON.parse(await readFile(join(import.meta.dirname, 'known-gaps.json'), 'utf8')) as Gap[];
}

/**
 * What is wrong with a suite's results, a line for each thing: too few tests that ran, a failure that is not known, a known one that
 * passes now.
 */
export function problemsOf(suite: string, tests: readonly Test[], atLeast: number, gaps: readonly Gap[]): string[] {
  const isGap = (test: Test) => gaps.some((gap) => gap.suite === suite && gap.test === test.name);
  const ran = tests.filter((test) => test.outcome !== 'skipped').length;
  return [
    ...(ran < atLeast ? [`${suite}: only ${ran} of ${atLeast} tests ran`] : []),
    ...tests.filter((test) => test.outcome === 'failed' && !isGap(test)).map((test) => `${suite} ${test.name}: failed`),
    ...tests
      .filter((test) => test.outcome === 'passed' && isGap(test))
      .map((test) => `${suite} ${test.name}: passes now; take it out of known-gaps.json`),
  ];
}
