import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import { shimBinary } from '../support/paths.ts';
import { TestBed } from '../support/test-bed.ts';
import { until } from '../support/until.ts';

withEachRuntime('ctr run', (runtime) => {
  for (const code of [0, 1, 42, 127, 137, 255]) {
    test(`exit code ${code} reaches the caller`, async (t) => {
      const bed = await TestBed.open(t, { runtime });
      const command = code === 127 ? ['sh', '-c', 'no-such-command'] : ['sh', '-c', `exit ${code}`];
      const result = await bed.ctr(bed.run({ id: 'exits', flags: ['--rm'], command }));
      assert.equal(result.code, code, result.stderr);
    });
  }

  test('standard output and standard error arrive whole and apart', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const result = await bed.ctr(
      bed.run({ id: 'speaks', flags: ['--rm'], command: ['sh', '-c', 'echo out; echo err >&2'] }),
    );
    assert.deepEqual(result, { code: 0, stdout: 'out\n', stderr: 'err\n' });
  });

  test('what is piped in is read to its end', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const input = 'line of text\n'.repeat(20_000);
    const result = await bed.ctr(bed.run({ id: 'counts', flags: ['--rm'], command: ['wc', '-c'] }), { input });
    assert.deepEqual(result, { code: 0, stdout: `${input.length}\n`, stderr: '' });
  });

  test('8 MB that are written just before the end all arrive', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const command = ['sh', '-c', 'head -c 8388608 /dev/zero | tr "\\0" x'];
    const result = await bed.ctr(bed.run({ id: 'floods', flags: ['--rm'], command }));
    assert.equal(result.stdout.length, 8_388_608);
    assert.match(result.stdout, /^x+$/);
  });

  test('a program that is not there is named in the error, and nothing stays', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const result = await bed.ctr(bed.run({ id: 'absent', flags: ['--rm'], command: ['/no/such/program'] }));
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /\/no\/such\/program/);
    assert.equal(await bed.ctrPrints('tasks', 'list', '--quiet'), '');
  });

  test('a container runs on a snapshot of an image, and its changes are its own', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.importImage();
    const script = 'grep -c "^overlay / overlay" /proc/mounts; ls /changed 2>&1; touch /changed';
    for (const id of ['first', 'second']) {
      const result = await bed.ctr(bed.run({ id, fromImage: true, command: ['sh', '-c', script] }));
      assert.equal(result.stdout, '1\nls: /changed: No such file or directory\n', result.stderr);
    }
  });

  test('a container runs on a copied snapshot', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    await bed.importImage();
    const flags = ['--rm', '--snapshotter', 'native'];
    const result = await bed.ctr(bed.run({ id: 'native', fromImage: true, flags, command: ['cat', '/etc/group'] }));
    assert.match(result.stdout, /^root:x:0:/, result.stderr);
  });

  test('ten containers at once keep their output and their exit codes apart', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const numbers = Array.from({ length: 10 }, (_, index) => index);
    const results = await Promise.all(
      numbers.map((number) => {
        const command = ['sh', '-c', `sleep 0.2; echo I am ${number}; exit ${number}`];
        return bed.ctr(bed.run({ id: `one-of-ten-${number}`, flags: ['--rm'], command }));
      }),
    );
    for (const [number, result] of results.entries()) {
      assert.deepEqual(result, { code: number, stdout: `I am ${number}\n`, stderr: '' });
    }
  });

  test('the pid that is given is the pid of the container', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const pidFile = bed.path('pid');
    await bed.runDetached({ id: 'sleeps', flags: ['--pid-file', pidFile], command: ['sleep', '1000'] });
    const pid = Number(readFileSync(pidFile, 'utf8'));
    assert.equal(await bed.taskPid('sleeps'), pid);
    // Just after its start it may still be the runtime.
    await until('its command line', () => readFileSync(`/proc/${pid}/cmdline`, 'utf8') === 'sleep\x001000\0');
  });

  test('all pids of a container are listed, and only these', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const ready = bed.path('rootfs', 'ready');
    await bed.runDetached({ id: 'family', command: ['sh', '-c', 'sleep 1000 & sleep 1000 & : > /ready; wait'] });
    const init = await bed.taskPid('family');
    await until('both children', () => existsSync(ready));
    const pids = (await bed.ctrPrints('tasks', 'ps', 'family')).split('\n').slice(1).filter(Boolean);
    assert.equal(pids.length, 3);
    assert.ok(pids.some((line) => Number(line.split(/\s+/)[0]) === init));
  });
});

test('the shim may be named by its path', async (t) => {
  const bed = await TestBed.open(t);
  const args = ['run', '--rm', '--runtime', shimBinary, '--rootfs', bed.rootfs, 'by-path', '/bin/echo', 'hello'];
  assert.deepEqual(await bed.ctr(args), { code: 0, stdout: 'hello\n', stderr: '' });
});

test('a container without output streams runs', async (t) => {
  const bed = await TestBed.open(t);
  const result = await bed.ctr(
    bed.run({ id: 'mute', flags: ['--rm', '--null-io'], command: ['sh', '-c', 'echo unheard; exit 3'] }),
  );
  assert.deepEqual(result, { code: 3, stdout: '', stderr: '' });
});
