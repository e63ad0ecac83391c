/** Reads what a Go test program prints under `-test.v=test2json`: each outcome as soon as it is known, marked by a control character. */

/**
 * @typedef {{ name: string, outcome: 'passed' | 'failed' | 'skipped', seconds: number, output: string[] }} Test
 *   `name` is the test's own, without the suite's and the configuration's; `output` has its lines, those of its parts included
 */

const mark = /\x16/g;
const started = /^=== RUN\s+(\S+)$/;
const continued = /^=== (?:CONT|NAME)\s*(\S*)$/;
const verdict = /^(PASS|FAIL)$/;
const ended = /^\s*--- (PASS|FAIL|SKIP): (\S+) \(([\d.]+)s\)$/;
const outcomes = { PASS: 'passed', FAIL: 'failed', SKIP: 'skipped' };

/**
 * The tests right under `parent` (their own parts decide their outcome and are not counted again). A test that began and never
 * ended counts as failed. A parent that failed though all its tests passed (the suite's own check for processes left behind)
 * gives one more failed test, named after the parent.
 * @param {string} text
 * @param {string} parent `TestShim/<configuration>`
 * @returns {Test[]}
 */
export function parseResults(text, parent) {
  /** @type {Map<string, Test>} */
  const tests = new Map();
  let current = '';
  let parentFailed = false;
  const parentOutput = [];
  const ownName = (path) => (path.startsWith(`${parent}/`) ? path.slice(parent.length + 1).split('/')[0] : undefined);
  const testOf = (path) => {
    const name = ownName(path);
    if (!name) return undefined;
    if (!tests.has(name)) {
      tests.set(name, { name, outcome: 'failed', seconds: 0, output: ['(it began and did not come to an end)'] });
    }
    return tests.get(name);
  };
  for (const line of text.replace(mark, '').split('\n')) {
    const begin = started.exec(line) ?? continued.exec(line);
    if (begin) {
      current = begin[1];
      const test = testOf(current);
      if (test?.output.length === 1) test.output = [];
      continue;
    }
    const end = ended.exec(line);
    if (end) {
      const [, word, path, seconds] = end;
      current = '';
      if (path === parent) parentFailed = word === 'FAIL';
      if (path.split('/').length !== parent.split('/').length + 1) continue;
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

/** @param {Test[]} tests */
export function count(tests) {
  const of = (outcome) => tests.filter((test) => test.outcome === outcome).length;
  return { passed: of('passed'), failed: of('failed'), skipped: of('skipped') };
}
