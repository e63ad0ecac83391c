/**
 * Runs the suites for one OCI runtime. Started by run.mjs inside mount and network namespaces of its own, so that nothing that it
 * changes (cgroup mounts, resolv.conf, loopback, port 53) is the machine's.
 *
 * usage: node judge.mjs <plan as JSON>; the results go as JSON to the file that the plan names.
 */
import { spawn, execFileSync } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseResults } from './results.mjs';
import { clear, leftovers, listNamespaceFolders, mountPoints, removeNamespaceFolders, settle } from './leftovers.mjs';
import { startResolver } from './resolver.mjs';

const hybridMount = '/sys/fs/cgroup/unified';
const features = ['exec', 'oom', 'net', 'sandbox', 'layers', 'transfer', 'uds'];
const entryPoint = 'TestShim';
const stressParts = ['Lifecycle', 'Exec', 'Sandbox'];
const stressHeadroomSeconds = 60;
const settleSeconds = 5;

/**
 * @typedef {object} Plan
 * @property {string} tag unique to the run
 * @property {string} runtime OCI runtime: 'runc' or 'crun'
 * @property {string} shim absolute path of the shim
 * @property {string[]} suites
 * @property {number} stressSeconds how long each of the stress tests runs; 0: none does
 * @property {number} suiteSeconds time limit of one suite
 * @property {{ program: string, guestProgram: string }} programs
 * @property {string} folder scratch; the suite's TMPDIR is made in it
 * @property {string} logs folder for the suites' whole output
 * @property {string} results file for the results
 */

/** @type {Plan} */
const plan = JSON.parse(process.argv[2]);
const scratch = join(plan.folder, plan.runtime);
const configuration = `${plan.tag}-${plan.runtime}`;

function prepareNamespaces() {
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
async function judgeSuite(suite, others) {
  const excluded = [...others, ...(suite === 'sandbox' ? [] : ['Stress'])].map((name) => name.replaceAll('#', '\\#'));
  return await judge(suite, suite, [
    `-test.run=^${entryPoint}$`,
    `-test.skip=^${entryPoint}$/^${configuration}$/^(${excluded.join('|')})$`,
    `-test.timeout=${plan.suiteSeconds}s`,
    '-test.short',
  ]);
}

/** Runs one of the stress tests, which go on until the suite's own time limit is a minute away. */
async function judgeStress(part) {
  return await judge(`stress-${part.toLowerCase()}`, 'sandbox', [
    `-test.run=^${entryPoint}$/^${configuration}$/^Stress$/^${part}$`,
    `-test.timeout=${plan.stressSeconds + stressHeadroomSeconds}s`,
  ]);
}

async function judge(name, feature, selection) {
  const config = join(plan.folder, `${configuration}.json`);
  const skip = features.filter((one) => one !== feature);
  const env = { BERTH_RUNTIME: plan.runtime };
  writeFileSync(config, JSON.stringify({ shim_binary: plan.shim, skip, env, provide_network: true }));
  const args = ['-test.v=test2json', `-shimtest.config=${config}`, ...selection];
  const logPath = join(plan.logs, `${plan.runtime}-${name}.log`);
  const log = createWriteStream(logPath);
  const begin = Date.now();
  const child = spawn(plan.programs.program, args, {
    cwd: scratch,
    env: { ...process.env, TMPDIR: scratch, SHIMTEST_TESTBIN: plan.programs.guestProgram, BERTH_RUNTIME: plan.runtime },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const exit = await new Promise((done) => {
    // `exit` and a moment for the rest, not `close`: a leaked process may hold the pipes for ever
    child.on('error', (error) => done(`cannot be run: ${error.message}`));
    child.on('exit', (code, signal) => setTimeout(() => done(code === 0 ? '' : `ended with ${signal ?? code}`), 200));
  });
  child.stdout.destroy();
  child.stderr.destroy();
  await new Promise((done) => log.end(done));
  const tests = parseResults(readFileSync(logPath, 'utf8'), `${entryPoint}/${configuration}`);
  if (exit && !tests.some((test) => test.outcome === 'failed')) {
    const tail = readFileSync(logPath, 'utf8').split('\n').slice(-30);
    tests.push({ name: `(the suite's program ${exit})`, outcome: 'failed', seconds: 0, output: tail });
  }
  return { suite: name, tests, seconds: (Date.now() - begin) / 1000, logPath };
}

mkdirSync(scratch, { recursive: true });
prepareNamespaces();
const resolver = await startResolver();
const mountsBefore = mountPoints();
const namespacesBefore = listNamespaceFolders();
const judged = [];
try {
  // The task suite comes along with every other one; its tests' names are learned from its own run, and left out of the others.
  const taskTests = await judgeSuite('task', []);
  const names = taskTests.tests.map((test) => test.name);
  if (plan.suites.includes('task')) judged.push(taskTests);
  for (const suite of plan.suites) if (suite !== 'task') judged.push(await judgeSuite(suite, names));
  if (plan.stressSeconds > 0) for (const part of stressParts) judged.push(await judgeStress(part));
  const left = await settle(() => leftovers(plan.tag, mountsBefore, scratch, []), settleSeconds);
  writeFileSync(plan.results, JSON.stringify({ judged, left }));
} finally {
  resolver.close();
  await clear(plan.tag);
  removeNamespaceFolders(namespacesBefore);
}
