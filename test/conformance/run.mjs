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
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { count } from './results.mjs';
import { SuiteUnavailable, buildSuite, findGo, pinnedSuite } from './suite.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const repository = resolve(here, '../..');

/** How many tests each suite has at the pinned version: fewer than that ran means that it did not really run. */
const testsOfSuite = { task: 5, exec: 12, oom: 1, net: 5, sandbox: 30 };
const suiteSeconds = 120;
const shownLines = 60;

const { values: options } = parseArgs({
  options: {
    shim: { type: 'string', default: join(repository, 'dist/bin/containerd-shim-berth-v2') },
    runtimes: { type: 'string', default: 'runc,crun' },
    suites: { type: 'string', default: Object.keys(testsOfSuite).join(',') },
    stress: { type: 'string', default: '0' },
  },
});
const suites = options.suites.split(',');
const runtimes = options.runtimes.split(',');
const shim = resolve(options.shim);

const say = (line) => console.log(line);

function loudly(title, lines) {
  const rule = '!'.repeat(100);
  say([rule, `!! ${title}`, ...lines.map((line) => `!! ${line}`), rule].join('\n'));
}

/** @returns {Promise<{ judged: { suite: string, tests: import('./results.mjs').Test[], seconds: number, logPath: string }[], left: string[] }>} */
async function judge(runtime, programs, folder) {
  const results = join(folder, `${runtime}.results.json`);
  const logs = join(repository, 'build/conformance');
  await mkdir(logs, { recursive: true });
  const tag = basename(folder);
  const plan = {
    tag,
    runtime,
    shim,
    suites,
    stressSeconds: Number(options.stress),
    suiteSeconds,
    programs,
    folder,
    logs,
    results,
  };
  const args = ['--mount', '--net', process.execPath, join(here, 'judge.mjs'), JSON.stringify(plan)];
  const child = spawn('unshare', args, { stdio: 'inherit' });
  const code = await new Promise((done, failed) => child.on('error', failed).on('exit', done));
  const text = await readFile(results, 'utf8').catch(() => undefined);
  if (code !== 0 || text === undefined) throw new Error(`the judge for ${runtime} ended with ${code}`);
  return JSON.parse(text);
}

async function main() {
  const unknown = suites.filter((suite) => !(suite in testsOfSuite));
  if (unknown.length)
    throw new Error(`no such suite: ${unknown.join(', ')}; there are ${Object.keys(testsOfSuite).join(', ')}`);
  if (!/^\d+$/.test(options.stress)) throw new Error(`--stress ${options.stress}: give a number of seconds`);
  if (!(await stat(shim).catch(() => undefined))) throw new Error(`${shim} is not there: run "npm run build" first`);
  const { version } = await pinnedSuite();
  const go = await findGo();
  if (!go) {
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
  const gaps = JSON.parse(await readFile(join(here, 'known-gaps.json'), 'utf8'));
  // A short path, because socket paths in it are bounded; lower case, because the suite makes container ids of it.
  const folder = join(tmpdir(), `bct${randomBytes(3).toString('hex')}`);
  await mkdir(folder);
  const problems = [];
  const all = [];
  try {
    for (const runtime of runtimes) {
      const { judged, left } = await judge(runtime, programs, folder);
      for (const { suite, tests, seconds, logPath } of judged) {
        all.push(...tests);
        report(runtime, suite, tests, seconds, logPath);
        problems.push(...problemsOf(runtime, suite, tests, gaps));
      }
      problems.push(...left.map((line) => `${runtime}: left behind: ${line}`));
      if (left.length === 0)
        say(`${runtime.padEnd(5)} nothing left behind: no process, mount, cgroup, runtime state or file`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  for (const problem of problems) say(`PROBLEM ${problem}`);
  if (problems.length) say(`not conforming: ${problems.length} problems`);
  const total = count(all);
  say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  if (problems.length || total.passed === 0) process.exitCode = 1;
}

function report(runtime, suite, tests, seconds, logPath) {
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

function problemsOf(runtime, suite, tests, gaps) {
  const problems = [];
  const isGap = (test) => gaps.some((gap) => gap.suite === suite && gap.test === test.name);
  const ran = tests.filter((test) => test.outcome !== 'skipped').length;
  const atLeast = testsOfSuite[suite] ?? 1;
  if (ran < atLeast) problems.push(`${runtime} ${suite}: only ${ran} of ${atLeast} tests ran`);
  for (const test of tests) {
    const where = `${runtime} ${suite} ${test.name}`;
    if (test.outcome === 'failed' && !isGap(test)) problems.push(`${where}: failed`);
    if (test.outcome === 'passed' && isGap(test)) problems.push(`${where}: passes now; take it out of known-gaps.json`);
  }
  return problems;
}

try {
  await main();
} catch (error) {
  if (!(error instanceof SuiteUnavailable)) throw error;
  loudly('The conformance suite cannot be built: it was NOT RUN', error.message.split('\n'));
  say('0 passed, 0 failed, 0 skipped');
  process.exitCode = 1;
}
