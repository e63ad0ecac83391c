// Compiles and runs the tests of the C sources: with gcc and warnings as errors, and with clang's address and undefined
// behaviour sanitizers. Usage: node scripts/test-native.mjs [name…]
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const nativeFolder = join(root, 'src/native');
const testFolder = join(root, 'test/native');
const buildFolder = join(root, 'build/native-test');

const pumpSources = readdirSync(nativeFolder).filter((name) => /^pump.*\.c$/.test(name));

/** Each is test/native/<name>.c with these sources of src/native; left out where the test does not exist. */
const tests = [
  { name: 'pump_test', sources: pumpSources },
  { name: 'pump_client_test', sources: pumpSources },
  { name: 'pump_replace_test', sources: pumpSources },
  { name: 'pump_random_test', sources: pumpSources },
  { name: 'spawn_test', sources: ['spawn.c', 'reap.c'] },
];

const common = ['-std=c11', '-g', '-Wall', '-Wextra', '-Werror', '-pthread'];
const compilers = [
  { name: 'gcc', command: 'gcc', flags: ['-O2'] },
  {
    name: 'sanitized',
    command: 'clang',
    flags: ['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'],
  },
];
const testTimeoutMs = 180_000;

const run = (command, args, options = {}) => {
  const result = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (result.error) console.error(`${command}: ${result.error.message}`);
  return result.status === 0;
};

const compile = (compiler, test, program) => {
  const sources = test.sources.map((name) => join(nativeFolder, name));
  const warnings = [...common, ...compiler.flags];
  return run(compiler.command, [...warnings, ...sources, join(testFolder, `${test.name}.c`), '-o', program, '-lutil']);
};

const chosen = process.argv.slice(2);
const failures = [];
mkdirSync(buildFolder, { recursive: true });
for (const test of tests) {
  if (!existsSync(join(testFolder, `${test.name}.c`)) || (chosen.length > 0 && !chosen.includes(test.name))) continue;
  for (const compiler of compilers) {
    const title = `${test.name} (${compiler.name})`;
    const program = join(buildFolder, `${test.name}-${compiler.name}`);
    console.log(`# ${title}`);
    const passed =
      compile(compiler, test, program) && run(program, [], { timeout: testTimeoutMs, killSignal: 'SIGKILL' });
    if (!passed) failures.push(title);
  }
}
if (failures.length > 0) {
  console.error(`failed: ${failures.join(', ')}`);
  process.exit(1);
}
