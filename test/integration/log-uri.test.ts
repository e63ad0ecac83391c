import assert from 'node:assert/strict';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import { TestBed } from '../support/test-bed.ts';
import { until } from '../support/until.ts';

/** A logger as containerd defines it: output on 3, errors on 4; closing 5 says that it is ready. */
const logger = `#!/bin/sh
target=$2
trap '' TERM # the end of its input is the end of its work
echo "$CONTAINER_NAMESPACE $CONTAINER_ID $1" >"$target.about"
exec 5>&-
cat <&3 >"$target.out" &
cat <&4 >"$target.err" &
wait
echo done >"$target.done"
`;

function writeProgram(path: string, text: string): void {
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

withEachRuntime('ctr run --log-uri', (runtime) => {
  test('file:// has all of the output in the order it was written', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const log = bed.path('container.log');
    const command = ['sh', '-c', 'for i in $(seq 1 1000); do echo out $i; echo err $i >&2; done; exit 4'];
    const result = await bed.ctr(bed.run({ id: 'logged', flags: ['--rm', '--log-uri', `file://${log}`], command }));
    assert.equal(result.code, 4, result.stderr);
    const numbers = Array.from({ length: 1000 }, (_, index) => index + 1);
    const lines = readFileSync(log, 'utf8').split('\n').filter(Boolean);
    for (const stream of ['out', 'err']) {
      assert.deepEqual(
        lines.filter((line) => line.startsWith(stream)),
        numbers.map((number) => `${stream} ${number}`),
      );
    }
    assert.equal(lines.length, 2000);
  });

  test('file:// is appended to', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const log = bed.path('container.log');
    for (const id of ['first', 'second']) {
      await bed.ctrPrints(...bed.run({ id, flags: ['--rm', '--log-uri', `file://${log}`], command: ['echo', id] }));
    }
    assert.equal(readFileSync(log, 'utf8'), 'first\nsecond\n');
  });

  test('binary:// gets both streams, who it logs for, and its arguments', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const program = bed.path('logger');
    writeProgram(program, logger);
    const target = bed.path('logged');
    const command = ['sh', '-c', 'seq 1 50000; echo complaint >&2; exit 6'];
    const flags = ['--rm', '--log-uri', `binary://${program}?to=${target}`];
    const result = await bed.ctr(bed.run({ id: 'piped', flags, command }));
    assert.equal(result.code, 6, result.stderr);
    await until('the logger is done', () => readFileSync(`${target}.done`));
    assert.equal(readFileSync(`${target}.about`, 'utf8'), `${bed.scratch.mark} piped to\n`);
    const expected = Array.from({ length: 50_000 }, (_, index) => `${index + 1}\n`).join('');
    assert.equal(readFileSync(`${target}.out`, 'utf8'), expected);
    assert.equal(readFileSync(`${target}.err`, 'utf8'), 'complaint\n');
  });

  test('binary:// with a program that fails to start is an error that names it, and nothing stays', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const flags = ['--rm', '--log-uri', 'binary:///no/such/logger'];
    const result = await bed.ctr(bed.run({ id: 'unlogged', flags, command: ['true'] }));
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /\/no\/such\/logger/);
  });

  test('exec --log-uri file:// has the output of the exec only', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const log = bed.path('exec.log');
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    await bed.ctrPrints(
      'tasks',
      'exec',
      '--exec-id',
      'logged',
      '--log-uri',
      `file://${log}`,
      'host',
      'echo',
      'from the exec',
    );
    assert.equal(readFileSync(log, 'utf8'), 'from the exec\n');
  });
});
