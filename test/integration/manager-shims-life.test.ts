import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import { detectCgroupLayout } from '../../src/linux/index.ts';
import { resolveRuntimes, type ShimInfo } from '../../src/manager/tasks/index.ts';
import { markedProcesses } from '../support/leftovers.ts';
import { ManagerShims, native } from '../support/manager-shims.ts';
import { ociRuntimes, repository, shimBinary } from '../support/paths.ts';
import { hasEnded, isAsleep, suspend } from '../support/process-tree.ts';
import { newScratch } from '../support/scratch.ts';
import { until } from '../support/until.ts';

const unknownIds: ReadonlySet<string> = new Set();
const isLate = (error: unknown) => isRpcError(error, Code.DeadlineExceeded);

/** Starts a manager with a pod, and kills it when it has told about it. */
async function killedManager(t: TestContext, bed: ManagerShims, runtime: string, script: string): Promise<ShimInfo> {
  const victim = join(repository, 'test/support/manager-shims-victim.ts');
  const child = spawn(process.execPath, [victim, JSON.stringify(bed.scratch), runtime, script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit').then(() => assert.fail('the manager has ended before it told about its pod'));
  const [line] = (await Promise.race([once(child.stdout, 'data'), ended])) as [Buffer];
  child.kill('SIGKILL');
  await once(child, 'exit');
  return JSON.parse(line.toString()) as ShimInfo;
}

for (const runtime of ['runc', 'other']) {
  describe(`when the manager of a pod of the handler "${runtime}" dies`, () => {
    test('the next one goes on with it: log, exit, programs that were left, shims that waited', async (t) => {
      const bed = await ManagerShims.open(t);
      const say = (file: string) => writeFileSync(join(bed.rootfs, file), '');
      const untilSaid = (file: string, command: string) => `until [ -e /${file} ]; do ${command}; done`;
      // First while the manager is killed, then more than a pipe holds when it is dead.
      const counting = `n=0; ${untilSaid('dead', 'n=$((n+1)); echo $n; sleep 0.01')}; seq $((n+1)) 30000`;
      const script = `${counting}; ${untilSaid('end', 'sleep 0.02')}; exit 9`;
      const info = await killedManager(t, bed, runtime, script);
      const logPath = bed.path('logs/one.log');
      say('dead');
      await until('all of its output', () => readFileSync(logPath, 'utf8').endsWith(' 30000\n'));
      const hasProgram = () => markedProcesses(bed.scratch).some(({ command }) => command === 'sleep 602');
      await until('the program', hasProgram);
      const shim = await bed.shims.connect(info, 5000);
      await until('the program to end', () => !hasProgram());
      say('end');
      assert.equal((await shim.wait('one')).exitStatus, 9);
      const log = readFileSync(logPath, 'utf8').split('\n').slice(0, -1);
      const numbers = log.map((line) => Number(line.split(' ').at(-1)));
      assert.deepEqual(
        numbers,
        Array.from({ length: 30_000 }, (_, n) => n + 1),
      );
      await shim.delete('one');
      await shim.shutdown();

      const [waiting = '', ...others] = bed.shims.abandoned(unknownIds);
      assert.deepEqual(others, []);
      await bed.shims.cleanUpAbandoned(waiting);
      assert.deepEqual(bed.shims.abandoned(unknownIds), []);
    });
  });

  describe(`a shim of the handler "${runtime}"`, () => {
    test('that is dead leaves nothing when it is cleaned up after, and tells how its containers ended', async (t) => {
      const bed = await ManagerShims.open(t);
      const pod = await bed.pod(runtime);
      const { shim } = pod;
      const running = await bed.container(pod, 'running', ['sleep', '600']);
      const ended = await bed.container(pod, 'ended', ['sh', '-c', 'exit 5']);
      await shim.start('running');
      await shim.start('ended');
      await shim.wait('ended');
      const waiting = assert.rejects(shim.wait('running'), (error: unknown) => isRpcError(error, Code.Unavailable));
      process.kill(shim.info.pid, 'SIGKILL');
      await shim.whenGone;
      await waiting;
      assert.ok(!shim.isOpen);
      await assert.rejects(shim.state('running'), (error: unknown) => isRpcError(error, Code.Unavailable));
      await assert.rejects(bed.shims.connect(shim.info, 1000), (error: unknown) => isRpcError(error, Code.Unavailable));
      const containers = [
        { id: 'running', ...running },
        { id: 'ended', ...ended },
      ];
      const end = await bed.shims.cleanUp(shim.info, containers);
      assert.equal(end?.containers.get('running')?.exitStatus, 137);
      if (shim.info.ours) assert.equal(end.containers.get('ended')?.exitStatus, 5);
      assert.ok(hasEnded(running.pid) && hasEnded(pod.pid));
      assert.ok(!existsSync(shim.info.bundle));
      for (const { bundle } of containers) rmSync(bundle, { recursive: true });
      assert.equal(await bed.shims.cleanUp(shim.info, containers), undefined);
    });

    test('that hangs delays nobody, and can be cleaned up after', async (t) => {
      const bed = await ManagerShims.open(t, { deadlines: { answerMs: 3000 } });
      const pod = await bed.pod(runtime);
      const other = await bed.pod(runtime);
      const { bundle, pid } = await bed.container(pod, 'one', ['sleep', '600']);
      await bed.container(other, 'two', ['sleep', '600']);
      await pod.shim.start('one');
      await suspend(pod.shim.info.pid);
      let isOver = false;
      const late = assert.rejects(pod.shim.state('one'), isLate).finally(() => (isOver = true));
      await other.shim.state('two');
      assert.ok(!isOver, 'the other one was waited for');
      await late;
      await assert.rejects(bed.shims.connect(pod.shim.info, 300), isLate);
      const end = await bed.shims.cleanUp(pod.shim.info, [{ id: 'one', bundle }]);
      assert.equal(end?.containers.get('one')?.exitStatus, 137);
      assert.ok(hasEnded(pid) && hasEnded(pod.pid) && hasEnded(pod.shim.info.pid));
      assert.ok(!existsSync(pod.shim.info.bundle));
      await bed.end(other.shim, 'two');
    });
  });
}

describe('the process that writes the log of a container of another shim', () => {
  const waiting = '[ $n -ne 300 ] || until [ -e /go ]; do sleep 0.02; done';
  const script = `n=0; while [ $n -lt 400 ]; do n=$((n+1)); echo $n; ${waiting}; sleep 0.01; done`;
  /** undefined while another one begins: its note is empty then. */
  const loggerOf = ({ bundle }: ShimInfo) => {
    const pid = Number.parseInt(readFileSync(join(bundle, 'io/one.logger'), 'utf8'));
    return pid > 0 ? pid : undefined;
  };

  test('is replaced when it was killed, and ends with the output', async (t) => {
    const bed = await ManagerShims.open(t);
    const pod = await bed.pod('other');
    const { logPath } = await bed.container(pod, 'one', ['sh', '-c', script]);
    await pod.shim.start('one');
    const first = loggerOf(pod.shim.info) ?? assert.fail('nobody writes the log');
    await until('lines', () => readFileSync(logPath, 'utf8').includes(' 150\n'));
    process.kill(first, 'SIGKILL');
    const second = await until('another', () => {
      const pid = loggerOf(pod.shim.info);
      return pid === first ? undefined : pid;
    });
    assert.ok(hasEnded(first) && !hasEnded(second));
    writeFileSync(join(bed.rootfs, 'go'), '');
    await pod.shim.wait('one');
    assert.ok(hasEnded(second));
    const numbers = readFileSync(logPath, 'utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => Number(line.split(' ').at(-1)));
    // The one that was killed may have had a line in its hands, in a world where processes are killed one by one.
    assert.ok(numbers.length >= 399 && new Set(numbers).size === numbers.length && numbers.at(-1) === 400);
    await pod.shim.delete('one');
    await pod.shim.shutdown();
  });

  test('that cannot open the log keeps the container from being made, and nothing is left', async (t) => {
    const bed = await ManagerShims.open(t);
    const pod = await bed.pod('other');
    const { bundle } = await bed.container(pod, 'one', ['true']);
    const options = { id: 'two', bundle, rootfs: [], terminal: false, stdin: false, stdinOnce: false };
    const logPath = bed.path('absent/two.log');
    await assert.rejects(
      pod.shim.create({ ...options, logPath }),
      /log of a container.*absent\/two\.log: No such file/,
    );
    symlinkSync('/dev/null', bed.path('logs/two.log'));
    await assert.rejects(pod.shim.create({ ...options, logPath: bed.path('logs/two.log') }), /symbolic link/i);
    assert.deepEqual(
      readdirSync(join(pod.shim.info.bundle, 'io')).filter((name) => name.startsWith('two')),
      [],
    );
    await bed.end(pod.shim, 'one');
  });
});

describe('the pool of shims', () => {
  test('has one ready, awake, for the next pod, and fills up after it', async (t) => {
    const bed = await ManagerShims.open(t, { poolSize: 1, sleepAfterSeconds: 1 });
    await until('a shim', () => bed.shims.ready === 1);
    await sleep(2500);
    const from = performance.now();
    const shim = await bed.shims.take('runc');
    const taken = performance.now();
    await shim.startSandbox({ hostname: '', netnsPath: '', annotations: {} });
    t.diagnostic(`take: ${(taken - from).toFixed(1)} ms, startSandbox: ${(performance.now() - taken).toFixed(1)} ms`);
    assert.ok(!isAsleep(shim.info.pid));
    assert.equal(shim.info.runtime, 'runc');
    await until('another', () => bed.shims.ready === 1);
    assert.deepEqual(bed.shims.abandoned(unknownIds), [], 'those of this manager are not abandoned');
    const lost = await bed.shims.take('');
    process.kill(lost.info.pid, 'SIGKILL');
    await lost.whenGone;
    await bed.shims.cleanUp(lost.info);
    await until('a third', () => bed.shims.ready === 1);
    await shim.shutdown();
  });

  test('is not what a shim that does not start is taken from: the failure is told, and nothing is left', async (t) => {
    const folder = newScratch().folder;
    t.after(() => rmSync(folder, { recursive: true }));
    const scripts = { fails: 'echo it hurts >&2; exit 1', babbles: 'echo hello', hangs: 'sleep 600' };
    const shimAt = (name: string) => join(folder, `containerd-shim-${name}`);
    for (const [name, script] of Object.entries(scripts))
      writeFileSync(shimAt(name), `#!/bin/sh\n[ "$9" != start ] || { ${script}; }\n`, { mode: 0o755 });
    const otherShims = Object.fromEntries(Object.keys(scripts).map((name) => [name, shimAt(name)]));
    const bed = await ManagerShims.open(t, { deadlines: { startMs: 3000 }, otherShims });
    await assert.rejects(bed.shims.take('fails'), /it hurts/);
    await assert.rejects(bed.shims.take('babbles'), /no address: hello/);
    await assert.rejects(bed.shims.take('hangs'), isLate);
    assert.deepEqual(readdirSync(bed.path('state/sandboxes')), []);
  });

  test('refuses handlers that are none', async (t) => {
    const bed = await ManagerShims.open(t);
    await assert.rejects(bed.shims.take('none'), (error: unknown) => isRpcError(error, Code.NotFound));
  });
});

describe('events', () => {
  test('come until they are kept, in order, by the same number', async (t) => {
    const bed = await ManagerShims.open(t);
    bed.refusal = new Error('no room');
    const pod = await bed.pod('runc');
    await bed.container(pod, 'one', ['true']);
    await pod.shim.start('one');
    await pod.shim.wait('one');
    await sleep(200);
    assert.deepEqual(bed.events, []);
    bed.refusal = undefined;
    await bed.next('/tasks/exit');
    await bed.stopEvents();
    await pod.shim.delete('one');
    await sleep(200);
    await bed.startEvents();
    await bed.next('/tasks/delete');
    const topics = ['/tasks/create', '/tasks/start', '/tasks/exit', '/tasks/delete'];
    assert.deepEqual(
      bed.events.map(({ topic, sequence, namespace }) => [topic, sequence, namespace]),
      topics.map((topic, n) => [topic, n + 1, bed.scratch.mark]),
    );
    await pod.shim.shutdown();
  });

  test('are taken from root only', async (t) => {
    const bed = await ManagerShims.open(t);
    const path = bed.path('state/berth.sock.ttrpc');
    chmodSync(path, 0o666);
    const program = `require('net').connect(${JSON.stringify(path)}).on('close', () => console.log('refused')).resume()`;
    const child = spawn(process.execPath, ['-e', program], { uid: 65534, stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    assert.equal(said.toString(), 'refused\n');
  });
});

describe('the default runtime', () => {
  test('is one that works on the host, and that is found out once', async (t) => {
    const bed = await ManagerShims.open(t);
    const state = bed.path('state');
    const handlers = Object.fromEntries(
      [...Object.entries(ociRuntimes), ['gone', '/nowhere'] as const].map(([name, binary]) => [
        name,
        { binary, shim: '', root: '' },
      ]),
    );
    const environment = { PATH: process.env['PATH'] ?? '' };
    const options = { shimBinary, searchPath: environment.PATH, environment, systemdCgroup: false };
    const resolve = () =>
      resolveRuntimes({ state, runtimes: { default: '', handlers } }, native, pino({ level: 'silent' }), options);
    const found = await resolve();
    t.diagnostic(found.reason);
    assert.match(found.default, /^(crun|runc)$/);
    if (detectCgroupLayout().mode === 'hybrid') {
      assert.equal(found.default, 'runc');
      assert.match(found.reason, /runc works on this host; .*crun does not: .*hybrid/);
    }
    assert.match(found.unusable.get('gone') ?? '', /nowhere/);
    assert.equal(found.handlers.get('runc')?.root, join(state, 'runtimes/runc'));
    const probes = () => {
      const { ino, mtimeNs } = statSync(join(state, 'runtimes/probes.json'), { bigint: true });
      return { ino, mtimeNs };
    };
    const before = probes();
    assert.deepEqual(await resolve(), found);
    assert.deepEqual(probes(), before, 'it was found out again');
  });
});
