import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answerTo } from '../conformance/resolver.ts';
import { count, parseResults, problemsOf } from '../conformance/results.ts';
import { parseSpecs } from '../conformance/spec-results.ts';

const parent = 'TestShim/mine';

/** What a Go test program prints, with its mark before each line that begins with "=" or "-". */
const printed = (...lines: string[]) => lines.map((line) => (/^\s*[=-]/.test(line) ? `\x16${line}` : line)).join('\n');

const run = (name: string, outcome: 'PASS' | 'FAIL' | 'SKIP', ...output: string[]) => [
  `=== RUN   ${parent}/${name}`,
  ...output,
  `    --- ${outcome}: ${parent}/${name} (0.25s)`,
];

const outcomesOf = (text: string) =>
  Object.fromEntries(parseResults(text, parent).map((test) => [test.name, test.outcome]));

describe('the results of the conformance suite', () => {
  test('are those of the tests right under the configuration, with their output', () => {
    const text = printed(
      '=== RUN   TestShim',
      `=== RUN   ${parent}`,
      ...run('Lifecycle', 'PASS', '    run.go:1: fine'),
      ...run('Exec', 'FAIL', '    exec.go:2: not fine'),
      ...run('Stress', 'SKIP', '    stress.go:3: in short mode'),
    );
    const tests = parseResults(text, parent);
    assert.deepEqual(
      tests.map(({ name, outcome, seconds, output }) => [name, outcome, seconds, output]),
      [
        ['Lifecycle', 'passed', 0.25, ['    run.go:1: fine']],
        ['Exec', 'failed', 0.25, ['    exec.go:2: not fine']],
        ['Stress', 'skipped', 0.25, ['    stress.go:3: in short mode']],
      ],
    );
    assert.deepEqual(count(tests), { passed: 1, failed: 1, skipped: 1 });
  });

  test('count a test with parts once', () => {
    const text = printed(
      `=== RUN   ${parent}/ExitCodes`,
      `=== RUN   ${parent}/ExitCodes/Exit0`,
      `        --- PASS: ${parent}/ExitCodes/Exit0 (0.01s)`,
      `=== RUN   ${parent}/ExitCodes/Exit1`,
      '    exit.go:9: got 0',
      `        --- FAIL: ${parent}/ExitCodes/Exit1 (0.01s)`,
      `    --- FAIL: ${parent}/ExitCodes (0.02s)`,
    );
    assert.deepEqual(outcomesOf(text), { ExitCodes: 'failed' });
    assert.deepEqual(parseResults(text, parent)[0]?.output, ['    exit.go:9: got 0']);
  });

  test('have a test that never ended as failed', () => {
    assert.deepEqual(outcomesOf(printed(`=== RUN   ${parent}/Hangs`, 'panic: test timed out')), { Hangs: 'failed' });
  });

  test("have the suite's own complaint as a failure when all tests passed", () => {
    const text = printed(
      `=== RUN   ${parent}`,
      ...run('Lifecycle', 'PASS'),
      `=== NAME  ${parent}`,
      '    leak.go:4: leaked shim process: PID 7',
      `--- FAIL: ${parent} (1.00s)`,
    );
    assert.deepEqual(outcomesOf(text), { Lifecycle: 'passed', '(the suite as a whole)': 'failed' });
  });
});

describe('what is wrong with the results', () => {
  const results = (...outcomes: ('passed' | 'failed' | 'skipped')[]) =>
    outcomes.map((outcome, n) => ({ name: `T${n}`, outcome, seconds: 0, output: [] }));
  const gap = { suite: 'net', test: 'T0', why: 'it cannot' };

  test('is nothing when all ran and passed', () => {
    assert.deepEqual(problemsOf('net', results('passed', 'passed'), 2, []), []);
  });

  test('is any failure that is not a known gap of that suite', () => {
    assert.deepEqual(problemsOf('net', results('failed'), 1, [gap]), []);
    assert.deepEqual(problemsOf('exec', results('failed'), 1, [gap]), ['exec T0: failed']);
  });

  test('is a known gap that passes', () => {
    assert.match(problemsOf('net', results('passed'), 1, [gap]).join(), /T0: passes now/);
  });

  test('is that too few tests ran: skipped ones did not', () => {
    assert.deepEqual(problemsOf('net', results('passed', 'skipped'), 2, []), ['net: only 1 of 2 tests ran']);
    assert.deepEqual(problemsOf('net', [], 1, []), ['net: only 0 of 1 tests ran']);
  });
});

describe('the stand-in name server', () => {
  const question = (name: string, type: number) => {
    const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
    return Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1]);
  };

  test('knows the address of the one name', () => {
    const answer = answerTo(question('Example.COM', 1));
    assert.equal(answer?.readUInt16BE(6), 1);
    assert.deepEqual([...answer.subarray(-4)], [192, 0, 2, 10]);
  });

  test('has no other address for it, and no other name', () => {
    assert.equal(answerTo(question('example.com', 28))?.readUInt16BE(6), 0);
    assert.equal((answerTo(question('example.org', 1))?.[3] ?? 0) & 0xf, 3);
  });

  test('passes over what is no question', () => {
    for (const bytes of [[], [1, 2, 3], [...question('example.com', 1)].slice(0, 20)]) {
      assert.equal(answerTo(Buffer.from(bytes)), undefined);
    }
  });
});

describe('the results of critest', () => {
  const spec = (text: string, State: string, more: object = {}) => ({
    ContainerHierarchyTexts: ['[k8s.io] Container', 'runtime'],
    LeafNodeType: 'It',
    LeafNodeText: text,
    State,
    RunTime: 2_500_000_000,
    ...more,
  });
  const parse = (...SpecReports: ReturnType<typeof spec>[]) =>
    parseSpecs({ SuiteConfig: { RandomSeed: 1 }, SpecReports });

  test('are those of its specs, named by all texts around them', () => {
    const tests = parse(spec('starts', 'passed'), spec('stops', 'skipped', { Failure: { Message: 'not here' } }));
    assert.deepEqual(
      tests.map(({ name, outcome, seconds }) => [name, outcome, seconds]),
      [
        ['Container runtime starts', 'passed', 2.5],
        ['Container runtime stops', 'skipped', 2.5],
      ],
    );
    assert.deepEqual(tests[1]?.output, ['not here']);
  });

  test('have what it said with a failure, where it was and why', () => {
    const Failure = { Message: 'Expected 1', Location: { FileName: 'pod.go', LineNumber: 7 } };
    const [failed] = parse(spec('starts', 'timedout', { Failure, CapturedGinkgoWriterOutput: 'one\ntwo\n' }));
    assert.equal(failed?.outcome, 'failed');
    assert.deepEqual(failed.output, ['one', 'two', 'at pod.go:7 (timedout)', 'Expected 1']);
  });

  test('have a failure around the specs as one of theirs, and nothing else that is not a spec', () => {
    const around = { ContainerHierarchyTexts: null, LeafNodeType: 'BeforeSuite', LeafNodeText: '' };
    assert.deepEqual(parse({ ...spec('', 'passed'), ...around } as never), []);
    const [failed] = parse({ ...spec('', 'panicked'), ...around } as never);
    assert.deepEqual([failed?.name, failed?.outcome], ['(BeforeSuite)', 'failed']);
  });

  test('leave out what only measures', () => {
    assert.deepEqual(parse(spec('benchmark about start', 'skipped')), []);
  });
});
