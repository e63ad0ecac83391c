/**
 * `npm run conformance`: containerd's shimtest judges our shim, with runc and with crun.
 *
 *   --shim PATH         the shim to judge; default dist/bin/containerd-shim-berth-v2
 *   --runtimes A,B      default runc,crun
 *   --suites A,B        default task,exec,oom,net,sandbox
 *   --stress SECONDS    also the suite's three stress tests, each for so long; default 0: not
 *
 * It fails when a test fails that known-gaps.json does not name, when a test passes that it does name (the list only shrinks),
 * when a suite ran fewer tests than it has, and when anything is left behind.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { JudgedSuite, Plan, Programs, Verdict } from './plan.ts';
import { count, type Gap, problemsOf, type Test } from './results.ts';
import { buildSuite, findGo, pinnedSuite, SuiteUnavailable } from './suite.ts';

const here = import.meta.dirname;
const repository = resolve(here, '../..');

/** How many tests each suite has at the pinned version: fewer than that ran means that it did not really run. */
const testsOfSuite = new Map([
  ['task', 5],
  ['exec', 12],
  ['oom', 1],
  ['net', 5],
  ['sandbox', 30],
]);
const suiteSeconds = 120;
const shownLines = 60;

const { values: options } = parseArgs({
  options: {
    shim: { type: 'string', default: join(repository, 'dist/bin/containerd-shim-berth-v2') },
    runtimes: { type: 'string', default: 'runc,crun' },
    suites: { type: 'string', default: [...testsOfSuite.keys()].join(',') },
    stress: { type: 'string', default: '0' },
  },
});
const suites = options.suites.split(',');
const shim = resolve(options.shim);

const say = (line: string) => console.log(line);

function loudly(title: string, lines: readonly string[]): void {
  const rule = '!'.repeat(100);
  say([rule, `!! ${title}`, ...lines.map((line) => `!! ${line}`), rule].join('\n'));
}

async function judge(runtime: string, programs: Programs, folder: string): Promise<Verdict> {
  const results = join(folder, `${runtime}.results.json`);
  const logs = join(repository, 'build/conformance');
  await mkdir(logs, { recursive: true });
  const stressSeconds = Number(options.stress);
  const tag = basename(folder);
  const plan: Plan = { tag, runtime, shim, suites, stressSeconds, suiteSeconds, programs, folder, logs, results };
  // The shell is there to collect orphans as the first process of the namespace.
  const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const init = ['sh', '-c', '"$@"; exit $?', 'sh'];
  const args = [...namespaces, ...init, process.execPath, join(here, 'judge.ts'), JSON.stringify(plan)];
  const child = spawn('unshare', args, { stdio: 'inherit' });
  const code = await new Promise<number | null>((done, failed) => child.once('error', failed).once('exit', done));
  const text = await readFile(results, 'utf8').catch(() => undefined);
  if (code !== 0 || text === undefined) throw new Error(`the judge for ${runtime} ended with ${code ?? 'a signal'}`);
  return JSON.parse(text) as Verdict;
}

async function main(): Promise<void> {
  const unknown = suites.filter((suite) => !testsOfSuite.has(suite));
  if (unknown.length > 0) {
    throw new Error(`no such suite: ${unknown.join(', ')}; there are ${[...testsOfSuite.keys()].join(', ')}`);
  }
  if (!/^\d+$/.test(options.stress)) throw new Error(`--stress ${options.stress}: give a number of seconds`);
  if (!(await stat(shim).catch(() => undefined))) throw new Error(`${shim} is not there: run "npm run build" first`);
  const { version } = await pinnedSuite();
  const go = await findGo();
  if (go === undefined) {
    loudly('Go is missing: the conformance suite was NOT RUN', [
      `shimtest ${version} is a Go module; without Go (1.26 or later) nothing of it can be built or run.`,
      'So this run says nothing about whether the shim conforms. Install Go from https://go.dev/dl and run it again.',
    ]);
    say('0 passed, 0 failed, 0 skipped');
    return;
  }
  const { origin, ...programs } = await buildSuite(go);
  say(`suite: shimtest ${version}, ${origin}`);
  say(`shim:  ${shim}`);
  say('names: a stand-in name server in a network namespace of the run answers for example.com; no internet is needed');
  const gaps = JSON.parse(await readFile(join(here, 'known-gaps.json'), 'utf8')) as Gap[];
  // A short path, because socket paths in it are bounded; lower case, because the suite makes container ids of it.
  const folder = join(tmpdir(), `bct${randomBytes(3).toString('hex')}`);
  await mkdir(folder);
  const problems: string[] = [];
  const all: Test[] = [];
  try {
    for (const runtime of options.runtimes.split(',')) {
      const { judged, left } = await judge(runtime, programs, folder);
      for (const one of judged) {
        all.push(...one.tests);
        report(runtime, one);
        const found = problemsOf(one.suite, one.tests, testsOfSuite.get(one.suite) ?? 1, gaps);
        problems.push(...found.map((line) => `${runtime} ${line}`));
      }
      problems.push(...left.map((line) => `${runtime}: left behind: ${line}`));
      if (left.length > 0) continue;
      say(`${runtime.padEnd(5)} nothing left behind: no process, mount, cgroup, runtime state or file`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  for (const problem of problems) say(`PROBLEM ${problem}`);
  if (problems.length > 0) say(`not conforming: ${problems.length} problems`);
  const total = count(all);
  say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  if (problems.length > 0 || total.passed === 0) process.exitCode = 1;
}

function report(runtime: string, { suite, tests, seconds, logPath }: JudgedSuite): void {
  const { passed, failed, skipped } = count(tests);
  const figures = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  say(`${runtime.padEnd(5)} ${suite.padEnd(16)} ${figures.padEnd(34)} ${seconds.toFixed(1).padStart(6)} s`);
  for (const test of tests) {
    if (test.outcome === 'skipped') say(`      skipped ${test.name}: ${test.output.join(' ').trim()}`);
    if (test.outcome !== 'failed') continue;
    say(`      FAILED ${test.name} (the whole log: ${logPath})`);
    for (const line of test.output.slice(-shownLines)) say(`        ${line}`);
  }
}

try {
  await main();
} catch (error) {
  if (!(error instanceof SuiteUnavailable)) throw error;
  loudly('The conformance suite cannot be built: it was NOT RUN', error.message.split('\n'));
  say('0 passed, 0 failed, 0 skipped');
  process.exitCode = 1;
}
