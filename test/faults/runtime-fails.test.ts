import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeFakeRuntime } from '../support/fake-runtime.ts';
import { markedCgroups, markedProcesses } from '../support/leftovers.ts';
import { TestBed } from '../support/test-bed.ts';

/** No task, no process but containerd, no cgroup: what a container that could not be made must leave. */
async function assertNothingRuns(bed: TestBed): Promise<void> {
  assert.equal(await bed.ctrPrints('tasks', 'list', '--quiet'), '');
  const { pid } = bed.containerd;
  const others = () => markedProcesses(bed.scratch).filter((one) => one.pid !== pid);
  for (let round = 0; round < 100 && others().length > 0; round++) await bed.ctr(['version']);
  assert.deepEqual(others(), []);
  assert.deepEqual(markedCgroups(bed.scratch), []);
}

const waysToFail = [
  { how: 'fails and logs nothing', script: 'echo "not for you" >&2; exit 1', message: /status 1/ },
  {
    how: 'fails and logs why',
    script: `echo '{"level":"warning","msg":"clouds"}' >>"$log"; echo '{"level":"error","msg":"the moon is full"}' >>"$log"; exit 1`,
    message: /the moon is full/,
  },
  { how: 'fails without a word', script: 'exit 3', message: /status 3/ },
  {
    how: 'prints and logs garbage',
    script: 'head -c 300000 /dev/urandom >>"$log"; head -c 30000 /dev/urandom; exit 1',
    message: /runtime/,
  },
  { how: 'logs half a line', script: `printf '{"level":"error","msg":"the moo' >>"$log"; exit 1`, message: /runtime/ },
  { how: 'is killed', script: 'kill -9 $$', message: /signal/ },
  { how: 'says it succeeded and did nothing', script: 'exit 0', message: /pid/ },
];

test('a runtime that is not there is named', async (t) => {
  const bed = await TestBed.open(t);
  const result = await bed.ctr(bed.run({ id: 'unborn', runtimeBinary: '/no/such/runtime', command: ['true'] }));
  assert.notEqual(result.code, 0);
  assert.match(result.stderr, /\/no\/such\/runtime/);
  await assertNothingRuns(bed);
});

test('a runtime that may not be executed is named', async (t) => {
  const bed = await TestBed.open(t);
  const result = await bed.ctr(bed.run({ id: 'unborn', runtimeBinary: '/etc/passwd', command: ['true'] }));
  assert.notEqual(result.code, 0);
  assert.match(result.stderr, /\/etc\/passwd.*(not an executable|permission denied)/i);
  await assertNothingRuns(bed);
});

for (const { how, script, message } of waysToFail) {
  test(`create ${how}: a clear error in one line, and nothing stays`, async (t) => {
    const bed = await TestBed.open(t);
    const runtimeBinary = writeFakeRuntime(bed.path('fake'), ['create'], script);
    const result = await bed.ctr(bed.run({ id: 'unborn', runtimeBinary, command: ['true'] }));
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, message);
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
    assert.ok(result.stderr.length < 2000, `${result.stderr.length} characters`);
    await assertNothingRuns(bed);
  });
}

/** What must succeed on a slow machine has no more time than what hangs. */
const environment = { BERTH_RUNTIME_TIMEOUT_SECONDS: '4' };

const waysToHang = [
  { verb: 'create', how: 'hangs', script: 'exec sleep 1000' },
  { verb: 'create', how: 'hangs in a child', script: 'sleep 1000' },
  { verb: 'create', how: 'prints without end', script: 'exec yes' },
  { verb: 'start', how: 'hangs', script: 'exec sleep 1000' },
];

for (const { verb, how, script } of waysToHang) {
  test(`${verb} ${how}: it is given up in time, and nothing stays`, async (t) => {
    const bed = await TestBed.open(t, { environment });
    const runtimeBinary = writeFakeRuntime(bed.path('fake'), [verb], script);
    const result = await bed.ctr(bed.run({ id: 'unborn', runtimeBinary, command: ['true'] }), {
      deadlineMilliseconds: 20_000,
    });
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, new RegExp(`${verb}.* 4 s`));
    await bed.ctr(['tasks', 'delete', '--force', 'unborn']);
    await assertNothingRuns(bed);
  });
}

test('create makes the container and fails then: it is undone', async (t) => {
  const bed = await TestBed.open(t);
  const runtimeBinary = writeFakeRuntime(
    bed.path('fake'),
    ['create'],
    '/usr/sbin/runc "$@" || exit; echo "too late" >&2; exit 1',
  );
  const result = await bed.ctr(bed.run({ id: 'unborn', runtimeBinary, command: ['true'] }));
  assert.notEqual(result.code, 0);
  assert.match(result.stderr, /too late|create failed/);
  await assertNothingRuns(bed);
});

test('start fails: the error says why, and the container can be deleted', async (t) => {
  const bed = await TestBed.open(t);
  const runtimeBinary = writeFakeRuntime(bed.path('fake'), ['start'], 'echo "the moon is full" >&2; exit 1');
  const result = await bed.ctr(bed.run({ id: 'unstarted', runtimeBinary, command: ['true'] }));
  assert.notEqual(result.code, 0);
  assert.match(result.stderr, /the moon is full/);
  await bed.ctr(['tasks', 'delete', '--force', 'unstarted']);
  await assertNothingRuns(bed);
});

test('exec fails or hangs: the error says so, and the container runs on', async (t) => {
  const bed = await TestBed.open(t, { environment });
  const script = 'echo x >>"$0.calls"; case $(wc -l <"$0.calls") in 1) exit 3 ;; 2) exec sleep 1000 ;; esac';
  const runtimeBinary = writeFakeRuntime(bed.path('fake'), ['exec'], script);
  await bed.runDetached({ id: 'host', runtimeBinary, command: ['sleep', '1000'] });
  const exec = (id: string) =>
    bed.ctr(['tasks', 'exec', '--exec-id', id, 'host', 'echo', 'done'], { deadlineMilliseconds: 20_000 });
  const failed = await exec('fails');
  assert.notEqual(failed.code, 0);
  assert.match(failed.stderr, /exec.*status 3/);
  const hung = await exec('hangs');
  assert.notEqual(hung.code, 0);
  assert.match(hung.stderr, /exec.* 4 s/);
  assert.deepEqual(await exec('works'), { code: 0, stdout: 'done\n', stderr: '' });
  assert.equal(await bed.taskStatus('host'), 'RUNNING');
});

test('delete fails once: the next one finishes the work', async (t) => {
  const bed = await TestBed.open(t);
  const script = '[ -e "$0.called" ] || { touch "$0.called"; echo "the moon is full" >&2; exit 1; }';
  const runtimeBinary = writeFakeRuntime(bed.path('fake'), ['delete'], script);
  const events = await bed.events();
  await bed.runDetached({ id: 'ends', runtimeBinary, command: ['true'] });
  await events.until('ends', 'exit');
  const first = await bed.ctr(['tasks', 'delete', 'ends']);
  if (first.code !== 0) {
    assert.match(first.stderr, /the moon is full/);
    await bed.ctrPrints('tasks', 'delete', 'ends');
  }
  await bed.ctrPrints('containers', 'delete', 'ends');
  await assertNothingRuns(bed);
});

test('pause fails: the container is still running, and is said to be', async (t) => {
  const bed = await TestBed.open(t);
  const runtimeBinary = writeFakeRuntime(bed.path('fake'), ['pause'], 'echo "the moon is full" >&2; exit 1');
  await bed.runDetached({ id: 'host', runtimeBinary, command: ['sleep', '1000'] });
  const result = await bed.ctr(['tasks', 'pause', 'host']);
  assert.notEqual(result.code, 0);
  assert.match(result.stderr, /the moon is full/);
  assert.equal(await bed.taskStatus('host'), 'RUNNING');
});
