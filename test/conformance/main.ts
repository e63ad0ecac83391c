/**
 * `npm run conformance`: suites that others wrote judge what we build. containerd's shimtest judges the shim, with runc and with crun;
 * Kubernetes's critest judges the manager.
 *
 *   --only A,B          of shim, cri; default both
 *   --seed NUMBER       the order of critest's specs; default: one by chance, which is printed
 *   --against NAME      whom critest judges: berthd (default), or containerd, to see what the suite and its images are worth here
 *   --focus REGEXP      only these specs of critest
 *   --shim PATH         the shim that shimtest judges; default dist/bin/containerd-shim-berth-v2
 *   --runtimes A,B      OCI runtimes for shimtest; default runc,crun (critest: the first of them)
 *   --suites A,B        of shimtest; default task,exec,oom,net,sandbox
 *   --stress SECONDS    also shimtest's three stress tests, each for so long; default 0: not
 *
 * It fails when a test fails that known-gaps.json does not name, when a test passes that it does name (the list only shrinks),
 * when a suite ran fewer tests than it has, and when anything is left behind.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { findGo, Unavailable } from '../support/go.ts';
import { shimBinary } from '../support/paths.ts';
import { contestants, judgeCri } from './cri.ts';
import { loudly, say } from './report.ts';
import { count, type Findings, readGaps, type Test } from './results.ts';
import { judgeShim, suitesOfShim } from './shim.ts';

const parts = ['shim', 'cri'];

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', default: parts.join(',') },
    seed: { type: 'string' },
    against: { type: 'string', default: 'berthd' },
    focus: { type: 'string' },
    shim: { type: 'string', default: shimBinary },
    runtimes: { type: 'string', default: 'runc,crun' },
    suites: { type: 'string', default: suitesOfShim.join(',') },
    stress: { type: 'string', default: '0' },
  },
});

/** The members of a list in an option. */
function list(name: string, text: string, known: readonly string[]): string[] {
  const chosen = text.split(',');
  const unknown = chosen.filter((one) => !known.includes(one));
  if (unknown.length > 0) throw new Error(`--${name} ${unknown.join(',')}: there are ${known.join(', ')}`);
  return chosen;
}

async function main(): Promise<void> {
  const only = list('only', options.only, parts);
  const runtimes = list('runtimes', options.runtimes, ['runc', 'crun']);
  const suites = list('suites', options.suites, suitesOfShim);
  const [against = ''] = list('against', options.against, contestants);
  if (!/^\d+$/.test(options.stress)) throw new Error(`--stress ${options.stress}: give a number of seconds`);
  if (!/^\d*$/.test(options.seed ?? '')) throw new Error(`--seed ${options.seed ?? ''}: give a number`);
  const go = await findGo();
  if (go === undefined) {
    loudly('Go is missing: the conformance suites were NOT RUN', [
      'shimtest and critest are of Go modules; without Go (1.26 or later) nothing of them can be built or run.',
      'So this run says nothing about whether we conform. Install Go from https://go.dev/dl and run it again.',
    ]);
    say('0 passed, 0 failed, 0 skipped');
    return;
  }
  const gaps = await readGaps();
  const runs: Record<string, () => Promise<Findings>> = {
    shim: () =>
      judgeShim(go, gaps, { shim: resolve(options.shim), runtimes, suites, stressSeconds: Number(options.stress) }),
    cri: () => judgeCri(gaps, { against, runtime: runtimes[0] ?? '', seed: options.seed, focus: options.focus }),
  };
  const tests: Test[] = [];
  const problems: string[] = [];
  for (const part of only) {
    const found = await attempt(part, runs[part] as () => Promise<Findings>);
    tests.push(...found.tests);
    problems.push(...found.problems);
  }
  for (const problem of problems) say(`PROBLEM ${problem}`);
  if (problems.length > 0) say(`not conforming: ${problems.length} problems`);
  const isKnownGap = ({ name, outcome }: Test) => outcome === 'failed' && gaps.some((gap) => gap.test === name);
  const known = tests.filter(isKnownGap).length;
  if (known > 0) say(`${known} known gaps, which known-gaps.json explains, are not counted below`);
  const total = count(tests.filter((test) => !isKnownGap(test)));
  say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  if (problems.length > 0 || total.passed === 0) process.exitCode = 1;
}

/** A suite that cannot be had is a problem, and no reason not to run the others. */
async function attempt(part: string, judge: () => Promise<Findings>): Promise<Findings> {
  try {
    return await judge();
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    loudly(`The conformance suite for ${part} cannot be run: it was NOT RUN`, error.message.split('\n'));
    return { tests: [], problems: [`${part}: not run`] };
  }
}

await main();
