import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { UsageError } from '../../../src/cli/failure.ts';
import { nearest, parseOptions } from '../../../src/cli/options.ts';
import { version } from '../../../src/cli/program.ts';
import { verbs } from '../../../src/cli/verbs/index.ts';
import { berthctl } from './run-cli.ts';

const specs = {
  all: { type: 'flag', short: 'a', help: '' },
  quiet: { type: 'flag', short: 'q', help: '' },
  name: { type: 'text', short: 'n', help: '' },
  label: { type: 'list', help: '' },
  tail: { type: 'whole', help: '' },
  wait: { type: 'duration', short: 'w', help: '' },
} as const;

describe('options', () => {
  it('may be short and together, long, with or without "=", and after operands', () => {
    const { values, operands, given } = parseOptions(
      ['-aq', 'x', '--name=n', '--label', 'a', '--label', 'b', '--tail', '-1', '-w1m'],
      specs,
      false,
    );
    assert.deepEqual({ ...values }, { all: true, quiet: true, name: 'n', label: ['a', 'b'], tail: -1, wait: 60_000 });
    assert.deepEqual(operands, ['x']);
    assert.deepEqual([...given].sort(), ['all', 'label', 'name', 'quiet', 'tail', 'wait']);
  });

  it('end at the first operand where a command follows, or at "--"', () => {
    const line = parseOptions(['-a', 'ID', 'ls', '-q', '--', 'x'], specs, true);
    assert.deepEqual([line.values.all, line.values.quiet, line.operands], [true, false, ['ID', 'ls', '-q', '--', 'x']]);
    assert.deepEqual(parseOptions(['--', '-a'], specs, false).operands, ['-a']);
  });

  it('are refused with a hint', () => {
    for (const [args, message] of [
      [['--nmae', 'x'], /no option --nmae/],
      [['--name'], /--name needs a value/],
      [['--tail', 'many'], /--tail needs a whole number, not "many"/],
      [['-w', 'soon'], /-w needs a duration/],
      [['--all=perhaps'], /takes no value/],
      [['-z'], /no option -z/],
      [['--__proto__'], /no option/],
    ] as const) {
      assert.throws(
        () => parseOptions(args, specs, false),
        (error) => error instanceof UsageError && message.test(error.message),
      );
    }
    assert.equal(nearest('--nmae', ['--name', '--label']), '--name');
    assert.equal(nearest('xyz', ['--name']), undefined);
  });
});

describe('the help', () => {
  for (const entry of verbs) {
    it(`of ${entry.name} has usage and an example, and lines that fit`, async () => {
      const { code, stdout } = await berthctl('/nowhere', [entry.name, '--help']);
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^berthctl ${entry.name} - .+\n\nUsage: berthctl ${entry.name}`));
      assert.match(stdout, /\nExamples?:\n {2}/);
      assert.ok(stdout.split('\n').every((line) => line.length <= 140));
      assert.equal((await berthctl('/nowhere', ['help', entry.name])).stdout, stdout);
    });
  }

  it('lists all verbs and the exit codes, and needs no server', async () => {
    const { stdout, code } = await berthctl('/nowhere', ['--help']);
    assert.equal(code, 0);
    for (const { name } of verbs) assert.match(stdout, new RegExp(`\n {2}${name} `));
    assert.match(stdout, /125 run\/exec/);
  });

  it('is pointed to when the command line is not understood, with exit code 2', async () => {
    for (const [args, message] of [
      [[], /what shall be done/],
      [['lgos'], /there is no verb "lgos"\n {2}did you mean "berthctl logs"/],
      [['ps', '--stat', 'x'], /ps: there is no option --stat\n {2}did you mean --state/],
      [['logs'], /logs: something is missing\n {2}usage: berthctl logs/],
      [['logs', 'a', 'b'], /logs: "b" is one too many/],
      [['ps', '-o', 'xml'], /there is no output format "xml"/],
      [['ps', '--template', '{{.x'], /template/],
      [['--runtime-endpoint', 'tcp://x', 'ps'], /is no unix socket/],
    ] as const) {
      const { code, stderr } = await berthctl('/nowhere', args);
      assert.equal(code, 2, args.join(' '));
      assert.match(stderr, message);
    }
  });
});

describe('completion', () => {
  it('is a script that bash understands, and completes verbs and options', async () => {
    const { stdout } = await berthctl('/nowhere', ['completion', 'bash']);
    const complete = (words: readonly string[]) => {
      const line = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _berthctl; echo "\${COMPREPLY[*]}"`;
      const { stdout: reply, stderr } = spawnSync('bash', ['-c', `${stdout}\n${line}`], { encoding: 'utf8' });
      assert.equal(stderr, '');
      return reply.trim();
    };
    assert.equal(complete(['berthctl', 'runti']), 'runtime-config');
    assert.equal(complete(['berthctl', 'logs', '--fo']), '--follow');
    assert.equal(complete(['berthctl', '-D', 'pods', '--no-t']), '--no-trunc');
  });

  it('is there for zsh and fish, and for nothing else', async () => {
    assert.match((await berthctl('/nowhere', ['completion', 'zsh'])).stdout, /^#compdef berthctl\n/);
    assert.match((await berthctl('/nowhere', ['completion', 'fish'])).stdout, /-a ps -d 'list containers'/);
    assert.equal((await berthctl('/nowhere', ['completion', 'tcsh'])).code, 2);
  });
});

it('the version of berthctl is that of the package', async () => {
  const text = readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8');
  assert.equal(version, (JSON.parse(text) as { version: string }).version);
  assert.equal((await berthctl('/nowhere', ['--version'])).stdout, `berthctl version ${version}\n`);
});
