/**
 * `npm test`: builds, checks, and runs every test; fails if anything does, or if no test ran.
 * With files or folders as arguments only these tests run, on what was built before:
 * `npm test -- test/faults test/integration/run.test.ts`. `--only=PATTERN` picks tests by name.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';

const totalBudgetMilliseconds = 24 * 60_000;
const oneTestMilliseconds = 90_000;
const folders = ['test/unit', 'test/integration', 'test/faults', 'test/vm'];
/** These run in a virtual machine, when a test in test/vm boots it. */
const guestTests = 'test/vm/guest/**';

const root = join(import.meta.dirname, '..');
process.chdir(root);
const began = Date.now();
const failed = [];

function step(name, command, ...args) {
  const from = Date.now();
  console.log(`\n== ${name}`);
  const { status, signal } = spawnSync(command, args, {
    stdio: 'inherit',
    timeout: Math.max(1, totalBudgetMilliseconds - (from - began)),
    env: { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` },
  });
  const seconds = ((Date.now() - from) / 1000).toFixed(1);
  if (status === 0) {
    console.log(`== ${name}: passed in ${seconds} s`);
    return true;
  }
  console.log(`== ${name}: FAILED after ${seconds} s (${signal ?? `exit code ${status}`})`);
  failed.push(name);
  return false;
}

/** Runs the files one after the other (they share the machine: its processes, mounts and cgroups); gives how many tests passed and failed. */
async function runTests(files, patterns) {
  const counts = { passed: 0, failed: 0, cancelled: 0 };
  const budget = AbortSignal.timeout(Math.max(1, totalBudgetMilliseconds - (Date.now() - began)));
  budget.addEventListener('abort', () => {
    console.log(`\n== the tests took longer than ${totalBudgetMilliseconds / 60_000} minutes in all: stopped`);
  });
  const tests = run({
    files,
    concurrency: false,
    signal: budget,
    execArgv: [`--test-timeout=${oneTestMilliseconds}`],
    ...(patterns.length > 0 && { testNamePatterns: patterns }),
  });
  tests.on('test:summary', ({ file, counts: total }) => {
    if (file === undefined) Object.assign(counts, total);
  });
  const report = tests.compose(spec);
  for await (const text of report) process.stdout.write(text);
  return { passed: counts.passed, failed: counts.failed + counts.cancelled + (budget.aborted ? 1 : 0) };
}

const options = process.argv.slice(2).filter((argument) => argument.startsWith('--'));
const chosen = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const unknown = options.filter((option) => !option.startsWith('--only='));
const absent = chosen.filter((path) => !existsSync(path));
if (unknown.length > 0 || absent.length > 0) {
  console.error(`run-tests: not understood: ${[...unknown, ...absent].join(' ')}`);
  process.exit(2);
}

const everything = options.length === 0 && chosen.length === 0;
if (everything) {
  if (!step('build', process.execPath, 'scripts/build.mjs')) process.exit(1);
  step('check', 'npm', 'run', '--silent', 'check');
  step('native', process.execPath, 'scripts/test-native.mjs');
}

const files = (chosen.length > 0 ? chosen : folders)
  .flatMap((path) =>
    existsSync(path) && statSync(path).isFile()
      ? [path]
      : globSync(`${path}/**/*.test.ts`, { exclude: [guestTests] }).sort(),
  )
  .map((path) => join(root, path));
console.log(`\n== tests: ${files.length} files`);
const { passed, failed: failures } =
  files.length > 0
    ? await runTests(
        files,
        options.map((option) => option.slice('--only='.length)),
      )
    : { passed: 0, failed: 0 };
if (failures > 0) failed.push('tests');
else if (passed === 0) failed.push('tests (none ran)');

if (failed.length > 0) {
  console.log(`\nFAILED: ${failed.join(', ')}`);
  process.exit(1);
}
