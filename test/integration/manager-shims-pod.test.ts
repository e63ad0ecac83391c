import assert from 'node:assert/strict';
import { existsSync, readFileSync, readlinkSync, renameSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import { namespaceIdentity, unpinNamespace } from '../../src/linux/index.ts';
import { processSpec } from '../support/bundle.ts';
import { ManagerShims, native } from '../support/manager-shims.ts';
import { until } from '../support/until.ts';

const sigterm = 15;
const logLine = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([PF]) (.*)$/;

/** What a CRI log says, by stream. */
function logged(path: string, stream: string): string {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  const parts = lines.map((line) => logLine.exec(line) ?? assert.fail(`no line of a CRI log: ${line.slice(0, 100)}`));
  return parts
    .filter(([, of]) => of === stream)
    .map(([, , tag, text]) => (tag === 'F' ? `${text}\n` : text))
    .join('');
}

for (const runtime of ['runc', 'other']) {
  describe(`a pod of the handler "${runtime}"`, () => {
    test('has a sandbox and containers, from start to delete', async (t) => {
      const bed = await ManagerShims.open(t);
      const pod = await bed.pod(runtime, 'harbour');
      const { shim } = pod;
      assert.deepEqual([shim.info.ours, shim.info.runtime], [runtime === 'runc', runtime]);
      const script =
        'trap "exit 7" TERM; echo mine > /dev/shm/file; hostname; echo oops >&2; while :; do sleep 0.05; done';
      const { logPath, pid } = await bed.container(pod, 'one', ['sh', '-c', script]);
      assert.equal(await shim.start('one'), pid);
      for (const kind of ['ipc', 'uts'])
        assert.equal(readlinkSync(`/proc/${pid}/ns/${kind}`), readlinkSync(`/proc/${pod.pid}/ns/${kind}`));
      await until('the log', () => logged(logPath, 'stdout') === 'harbour\n' && logged(logPath, 'stderr') === 'oops\n');
      assert.ok((await shim.pids('one')).includes(pid));
      assert.ok(((await shim.stats('one'))?.value.length ?? 0) > 0);
      await shim.update('one', { cpu: { shares: 512 } });

      const other = await bed.container(pod, 'two', ['cat', '/dev/shm/file']);
      await shim.start('two');
      assert.equal((await shim.wait('two')).exitStatus, 0);
      assert.equal(logged(other.logPath, 'stdout'), 'mine\n', 'members share /dev/shm');

      const waiting = shim.wait('one');
      await shim.pause('one');
      await shim.resume('one');
      await shim.kill('one', sigterm);
      const { exitStatus, exitedAt } = await waiting;
      assert.equal(exitStatus, 7);
      assert.ok(exitedAt > BigInt(Date.now() - 60_000) * 1_000_000n);
      assert.equal((await shim.delete('one')).exitStatus, 7);
      await assert.rejects(shim.state('one'), (error: unknown) => isRpcError(error, Code.NotFound));
      await shim.delete('two');
      await shim.stopSandbox(0);
      await shim.stopSandbox(0);
      await shim.shutdown();
      await shim.shutdown();
      assert.ok(!existsSync(shim.info.bundle));
      assert.ok(!shim.isOpen);
      const topics = bed.events.map(({ topic }) => topic);
      assert.ok(topics.includes('/tasks/create') && topics.includes('/tasks/exit'), topics.join(' '));
    });

    test('has its network namespace by path', async (t) => {
      const bed = await ManagerShims.open(t);
      const netnsPath = bed.path('netns');
      native.pinNewNamespace('net', netnsPath);
      const shim = await bed.shims.take(runtime);
      const cgroupsPath = `/${bed.scratch.mark}/${shim.info.id}`;
      const { pid } = await shim.startSandbox({ hostname: '', netnsPath, annotations: {}, cgroupsPath });
      assert.equal(namespaceIdentity(`/proc/${pid}/ns/net`), namespaceIdentity(netnsPath));
      await shim.shutdown();
      unpinNamespace(netnsPath, native);
    });

    test('logs to a new file when its log was renamed', async (t) => {
      const bed = await ManagerShims.open(t);
      const pod = await bed.pod(runtime);
      const script = 'echo before; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo after; sleep 600';
      const { logPath } = await bed.container(pod, 'one', ['sh', '-c', script]);
      await pod.shim.start('one');
      await until('the first line', () => logged(logPath, 'stdout') === 'before\n');
      renameSync(logPath, `${logPath}.1`);
      await pod.shim.reopenLog('one');
      const run = { processSpec: processSpec({ args: [] }), timeoutMs: 5000, maxOutputBytes: 100 };
      await pod.shim.execSync('one', { ...run, args: ['touch', '/tmp/go'] });
      await until('the second line', () => logged(logPath, 'stdout') === 'after\n');
      assert.equal(logged(`${logPath}.1`, 'stdout'), 'before\n');
      await bed.end(pod.shim, 'one');
    });

    test('runs programs to their ends: output, exit code, bound and deadline', async (t) => {
      const bed = await ManagerShims.open(t);
      const pod = await bed.pod(runtime);
      await bed.container(pod, 'one', ['sleep', '600']);
      await pod.shim.start('one');
      const run = (script: string, timeoutMs = 10_000, maxOutputBytes = 1_000_000) =>
        pod.shim.execSync('one', {
          ...{ args: ['sh', '-c', script], timeoutMs, maxOutputBytes },
          processSpec: processSpec({ args: ['not', 'this'] }),
        });
      const { stdout, stderr, exitCode } = await run('echo out; echo err >&2; exit 3');
      assert.deepEqual([stdout.toString(), stderr.toString(), exitCode], ['out\n', 'err\n', 3]);
      const much = await run('dd if=/dev/zero bs=1000 count=3000 2>/dev/null', 10_000, 2_000_000);
      assert.deepEqual([much.stdout.length, much.exitCode], [2_000_000, 0]);
      const whole = await run('dd if=/dev/zero bs=1000 count=700 2>/dev/null');
      assert.equal(whole.stdout.length, 700_000);
      assert.equal((await run('sleep 600 & echo gone')).stdout.toString(), 'gone\n');
      await assert.rejects(run('echo $$; exec sleep 601', 300), (error: unknown) =>
        isRpcError(error, Code.DeadlineExceeded),
      );
      await assert.rejects(
        pod.shim.execSync('one', {
          args: ['no-such-program'],
          processSpec: processSpec({ args: [] }),
          timeoutMs: 0,
          maxOutputBytes: 1,
        }),
        isRpcError,
      );
      const times: number[] = [];
      for (let n = 0; n < 8; n++) {
        const from = performance.now();
        await run('true');
        times.push(performance.now() - from);
      }
      t.diagnostic(`execSync: ${times.sort((a, b) => a - b)[4]?.toFixed(1)} ms`);
      assert.equal((await run('ps | grep -c "sleep 60[1]"')).stdout.toString(), '0\n');
      await bed.end(pod.shim, 'one');
    });
  });
}
