/**
 * Runs the suites for one OCI runtime. Started by main.ts inside mount, network and PID namespaces of its own, so that nothing that
 * it changes (cgroup mounts, resolv.conf, loopback, port 53) is the machine's, and nothing else that runs there is taken for ours.
 *
 * usage: node judge.ts <plan as JSON>; the verdict goes as JSON to the file that the plan names.
 */
import { execFileSync, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { clear, leftovers, listNamespaceFolders, mountPoints, removeNamespaceFolders, settle } from './leftovers.ts';
import type { JudgedSuite, Plan, Verdict } from './plan.ts';
import { startResolver } from './resolver.ts';
import { parseResults } from './results.ts';

const hybridMount = '/sys/fs/cgroup/unified';
const features = ['exec', 'oom', 'net', 'sandbox', 'layers', 'transfer', 'uds'];
const entryPoint = 'TestShim';
const stressParts = ['Lifecycle', 'Exec', 'Sandbox'];
const stressHeadroomSeconds = 60;
const settleSeconds = 15;
const outputMilliseconds = 5000;
const shownLines = 30;

const plan = JSON.parse(process.argv[2] ?? '') as Plan;
const scratch = join(plan.folder, plan.runtime);
const configuration = `${plan.tag}-${plan.runtime}`;

function prepareNamespaces(): void {
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  if (plan.runtime === 'crun' && mountPoints().includes(hybridMount)) {
    // crun refuses a cgroup2 mount beside cgroup v1. It still makes folders at that place, so they go into a file system of ours.
    execFileSync('umount', [hybridMount]);
    execFileSync('mount', ['-t', 'tmpfs', 'berth-conformance', hybridMount]);
  }
  const resolvConf = join(plan.folder, 'resolv.conf');
  writeFileSync(resolvConf, 'nameserver 127.0.0.1\n');
  execFileSync('mount', ['--bind', resolvConf, '/etc/resolv.conf']);
}

/** Runs one suite; the names in `others` are of tests that come along with it but belong to another. */
async function judgeSuite(suite: string, others: readonly string[]): Promise<JudgedSuite> {
  const unwanted = suite === 'sandbox' ? others : [...others, 'Stress'];
  const excluded = unwanted.map((name) => name.replaceAll('#', '\\#'));
  return await judge(suite, suite, [
    `-test.run=^${entryPoint}$`,
    `-test.skip=^${entryPoint}$/^${configuration}$/^(${excluded.join('|')})$`,
    `-test.timeout=${plan.suiteSeconds}s`,
    '-test.short',
  ]);
}

/** Runs one of the stress tests, which go on until the suite's own time limit is a minute away. */
async function judgeStress(part: string): Promise<JudgedSuite> {
  return await judge(`stress-${part.toLowerCase()}`, 'sandbox', [
    `-test.run=^${entryPoint}$/^${configuration}$/^Stress$/^${part}$`,
    `-test.timeout=${plan.stressSeconds + stressHeadroomSeconds}s`,
  ]);
}

async function judge(name: string, feature: string, selection: readonly string[]): Promise<JudgedSuite> {
  const config = join(plan.folder, `${configuration}.json`);
  const skip = features.filter((one) => one !== feature);
  const env = { BERTH_RUNTIME: plan.runtime };
  writeFileSync(config, JSON.stringify({ shim_binary: plan.shim, skip, env, provide_network: true }));
  const logPath = join(plan.logs, `${plan.runtime}-${name}.log`);
  const begin = Date.now();
  const failure = await runSuite(['-test.v=test2json', `-shimtest.config=${config}`, ...selection], logPath);
  const text = readFileSync(logPath, 'utf8');
  const tests = parseResults(text, `${entryPoint}/${configuration}`);
  if (failure !== undefined && !tests.some((test) => test.outcome === 'failed')) {
    const output = text.split('\n').slice(-shownLines);
    tests.push({ name: `(the suite's program ${failure})`, outcome: 'failed', seconds: 0, output });
  }
  return { suite: name, tests, seconds: (Date.now() - begin) / 1000, logPath };
}

/** Runs the suite's program with its output in the log; says how it failed, or undefined. */
async function runSuite(args: readonly string[], logPath: string): Promise<string | undefined> {
  const log = createWriteStream(logPath);
  const { program, guestProgram } = plan.programs;
  const child = spawn(program, args, {
    cwd: scratch,
    env: { ...process.env, TMPDIR: scratch, SHIMTEST_TESTBIN: guestProgram },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const failure = await new Promise<string | undefined>((done) => {
    child.once('error', (error) => done(`cannot be run: ${error.message}`));
    child.once('exit', (code, signal) => {
      const how = code === 0 ? undefined : `ended with ${signal ?? code ?? ''}`;
      // The rest of its output is still to come, but a leaked process may hold the pipes for ever.
      const deadline = setTimeout(() => done(how), outputMilliseconds);
      child.once('close', () => {
        clearTimeout(deadline);
        done(how);
      });
    });
  });
  child.stdout.destroy();
  child.stderr.destroy();
  await new Promise<void>((done) => log.end(done));
  return failure;
}

mkdirSync(scratch, { recursive: true });
prepareNamespaces();
const resolver = await startResolver();
const mountsBefore = mountPoints();
const namespacesBefore = listNamespaceFolders();
const judged: JudgedSuite[] = [];
try {
  // The task suite comes along with every other one; its tests' names are learned from its own run, and left out of the others.
  const task = await judgeSuite('task', []);
  const names = task.tests.map((test) => test.name);
  if (plan.suites.includes('task')) judged.push(task);
  for (const suite of plan.suites) if (suite !== 'task') judged.push(await judgeSuite(suite, names));
  if (plan.stressSeconds > 0) for (const part of stressParts) judged.push(await judgeStress(part));
  const left = await settle(() => leftovers(plan.tag, mountsBefore, scratch), settleSeconds);
  writeFileSync(plan.results, JSON.stringify({ judged, left } satisfies Verdict));
} finally {
  resolver.close();
  await clear(plan.tag);
  removeNamespaceFolders(namespacesBefore);
}
