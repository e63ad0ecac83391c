/** containerd's shimtest judges a shim. */
import { randomBytes } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { repository } from '../support/paths.ts';
import { judgeApart } from './apart.ts';
import type { Plan, Programs, Verdict } from './plan.ts';
import { report, say } from './report.ts';
import { type Findings, type Gap, problemsOf } from './results.ts';
import { buildSuite, pinnedSuite } from './suite.ts';

/** How many tests each suite has at the pinned version: fewer than that ran means that it did not really run. */
const testsOfSuite = new Map([
  ['task', 5],
  ['exec', 12],
  ['oom', 1],
  ['net', 5],
  ['sandbox', 30],
]);
const suiteSeconds = 120;

export const suitesOfShim = [...testsOfSuite.keys()];

export interface ShimOptions {
  shim: string;
  runtimes: string[];
  suites: string[];
  stressSeconds: number;
}

export async function judgeShim(go: string, gaps: readonly Gap[], options: ShimOptions): Promise<Findings> {
  const { shim, runtimes } = options;
  if (!(await stat(shim).catch(() => undefined))) throw new Error(`${shim} is not there: run "npm run build" first`);
  const { origin, ...programs } = await buildSuite(go);
  say(`suite: shimtest ${await pinnedSuite()}, ${origin}`);
  say(`shim:  ${shim}`);
  say('names: a stand-in name server in a network namespace of the run answers for example.com; no internet is needed');
  // A short path, because socket paths in it are bounded; lower case, because the suite makes container ids of it.
  const folder = join(tmpdir(), `bct${randomBytes(3).toString('hex')}`);
  await mkdir(folder);
  const found: Findings = { tests: [], problems: [] };
  try {
    for (const runtime of runtimes) {
      const { judged, left } = await judge(runtime, options, programs, folder);
      for (const { suite, tests, seconds, logPath } of judged) {
        found.tests.push(...tests);
        report(runtime, suite, tests, seconds, logPath);
        const problems = problemsOf(suite, tests, testsOfSuite.get(suite) ?? 1, gaps);
        found.problems.push(...problems.map((line) => `${runtime} ${line}`));
      }
      found.problems.push(...left.map((line) => `${runtime}: left behind: ${line}`));
      if (left.length > 0) continue;
      say(`${runtime.padEnd(5)} nothing left behind: no process, mount, cgroup, runtime state or file`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return found;
}

async function judge(runtime: string, options: ShimOptions, programs: Programs, folder: string): Promise<Verdict> {
  const { shim, suites, stressSeconds } = options;
  const results = join(folder, `${runtime}.results.json`);
  const logs = join(repository, 'build/conformance');
  await mkdir(logs, { recursive: true });
  const tag = basename(folder);
  const plan: Plan = { tag, runtime, shim, suites, stressSeconds, suiteSeconds, programs, folder, logs, results };
  return (await judgeApart('judge.ts', plan, results)) as Verdict;
}
