import assert from 'node:assert/strict';
import { readlinkSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Code, codeName, TtrpcError } from '../../src/ttrpc/index.ts';
import { fromTimestamp } from '../../src/wire/index.ts';
import type { NamespaceSpec } from '../support/bundle.ts';
import { command } from '../support/command.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import type { FifoReader } from '../support/fifo.ts';
import { hasEnded } from '../support/process-tree.ts';
import { Running } from '../support/running.ts';
import { ShimBed } from '../support/shim-bed.ts';
import type { ShimClient } from '../support/shim-client.ts';
import { until } from '../support/until.ts';

const sigkill = 9;

const codeOf = (error: unknown) => (error instanceof TtrpcError ? codeName(error.code) : String(error));
const namespaceOf = (pid: number, kind: string) => readlinkSync(`/proc/${pid}/ns/${kind}`);

/** A shim of version 3 with a sandbox that is ready. */
async function sandbox(
  bed: ShimBed,
  request: { netnsPath?: string } = {},
): Promise<{ client: ShimClient; pid: number }> {
  const client = await bed.shim('pod', ['true'], { env: { MAX_SHIM_VERSION: '3' } });
  await client.sandbox('CreateSandbox', { sandboxId: 'pod', bundlePath: client.options.bundle, ...request });
  const { pid } = await client.sandbox('StartSandbox', { sandboxId: 'pod' });
  return { client, pid };
}

/** A container in that sandbox, reached through its shim, and what it prints. */
async function member(
  bed: ShimBed,
  pod: ShimClient,
  id: string,
  args: string[],
  namespaces: NamespaceSpec[],
): Promise<{ pid: number; output: FifoReader }> {
  const { bundle } = bed.bundle(id, args, { namespaces });
  const { stdout, stderr, output } = bed.stdio(id);
  await pod.task('Create', { id, bundle, stdout, stderr });
  const { pid } = await pod.task('Start', { id });
  return { pid, output };
}

const shared = (pid: number): NamespaceSpec[] => [
  { type: 'mount' },
  { type: 'pid' },
  ...(['ipc', 'uts', 'network'] as const).map((type) => ({
    type,
    path: `/proc/${pid}/ns/${type === 'network' ? 'net' : type}`,
  })),
];

withEachRuntime('a sandbox', (runtime) => {
  test('lives from CreateSandbox to ShutdownSandbox, which ends its shim', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const before = BigInt(Date.now() - 1000) * 1_000_000n;
    const { client, pid } = await sandbox(bed);
    const shim = await client.shimPid();
    const { platform } = await client.sandbox('Platform', { sandboxId: 'pod' });
    assert.equal(platform?.os, 'linux');
    await client.sandbox('PingSandbox', { sandboxId: 'pod' });
    const status = await client.sandbox('SandboxStatus', { sandboxId: 'pod', verbose: true });
    assert.deepEqual([status.state, status.pid, status.info['pid']], ['SANDBOX_READY', pid, String(pid)]);
    assert.ok((fromTimestamp(status.createdAt) ?? 0n) > before);
    assert.ok(!hasEnded(pid));

    const waiting = client.sandbox('WaitSandbox', { sandboxId: 'pod' });
    await client.sandbox('StopSandbox', { sandboxId: 'pod' });
    assert.ok((await waiting).exitedAt);
    await client.sandbox('StopSandbox', { sandboxId: 'pod' });
    assert.equal((await client.sandbox('SandboxStatus', { sandboxId: 'pod' })).state, 'SANDBOX_NOTREADY');
    assert.ok(hasEnded(pid));
    await client.sandbox('ShutdownSandbox', { sandboxId: 'pod' });
    await until('the shim to end', () => hasEnded(shim));
  });

  test('holds the namespaces that its members join', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, pid } = await sandbox(bed);
    const { pid: first } = await member(bed, client, 'first', ['sleep', '600'], shared(pid));
    const { pid: second } = await member(bed, client, 'second', ['sleep', '600'], shared(pid));
    for (const kind of ['ipc', 'uts', 'net']) {
      assert.equal(namespaceOf(first, kind), namespaceOf(pid, kind), kind);
      assert.equal(namespaceOf(second, kind), namespaceOf(pid, kind), kind);
    }
    assert.notEqual(namespaceOf(first, 'pid'), namespaceOf(second, 'pid'));
    assert.notEqual(namespaceOf(first, 'ipc'), namespaceOf(process.pid, 'ipc'));
    await client.task('Kill', { id: 'first', signal: sigkill });
    assert.equal((await client.task('Wait', { id: 'first' })).exitStatus, 128 + sigkill);
    await client.task('Delete', { id: 'first' });
    assert.equal((await client.sandbox('SandboxStatus', { sandboxId: 'pod' })).state, 'SANDBOX_READY');
    assert.ok(!hasEnded(second));
    await client.sandbox('ShutdownSandbox', { sandboxId: 'pod' });
    await until('the second member to end', () => hasEnded(second));
  });

  test('stops its members: gently first when it is given time', async (t) => {
    const bed = await ShimBed.open(t, { runtime });
    const { client, pid } = await sandbox(bed);
    for (const [id, trap] of [
      ['polite', '"exit 7"'],
      ['deaf', '""'],
    ] as const) {
      const args = ['sh', '-c', `trap ${trap} TERM; echo up; while :; do sleep 0.05; done`];
      const { output } = await member(bed, client, id, args, shared(pid));
      await output.waitFor('up\n');
    }
    const waiting = ['polite', 'deaf'].map((id) => client.task('Wait', { id }));
    await client.sandbox('StopSandbox', { sandboxId: 'pod', timeoutSecs: 5 });
    const ends = await Promise.all(waiting);
    assert.deepEqual(
      ends.map(({ exitStatus }) => exitStatus),
      [7, 128 + sigkill],
    );
    await client.sandbox('ShutdownSandbox', { sandboxId: 'pod' });
  });
});

describe('a sandbox', () => {
  test('takes its network namespace by path', async (t) => {
    const bed = await ShimBed.open();
    const name = bed.scratch.mark;
    // The namespace's pin is on the machine's /run, which the bed does not see; a process in it is.
    const hold = `ip netns add ${name} && exec ip netns exec ${name} sh -c 'echo $$; exec sleep 3600'`;
    const holder = new Running('sh', ['-c', hold]);
    t.after(async () => {
      try {
        await bed.close();
      } finally {
        await holder.kill();
        await command('ip', ['netns', 'del', name]);
      }
    });
    await holder.says('\n');
    const holderPid = Number(holder.stdout);
    const netnsPath = `/proc/${holderPid}/ns/net`;
    const { client, pid } = await sandbox(bed, { netnsPath });
    assert.equal(namespaceOf(pid, 'net'), namespaceOf(holderPid, 'net'));
    const { info } = await client.sandbox('SandboxStatus', { sandboxId: 'pod', verbose: true });
    assert.equal(info['networkSandboxPath'], netnsPath);
    await client.sandbox('ShutdownSandbox', { sandboxId: 'pod' });
  });

  test('is refused twice, before it is created, and under another name', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('pod', ['true']);
    const start = (sandboxId: string) => client.sandbox('StartSandbox', { sandboxId }).then(() => 'OK', codeOf);
    assert.equal(await start('pod'), codeName(Code.FailedPrecondition));
    const create = () =>
      client.sandbox('CreateSandbox', { sandboxId: 'pod', bundlePath: client.options.bundle }).then(() => 'OK', codeOf);
    assert.deepEqual([await create(), await create()], ['OK', codeName(Code.AlreadyExists)]);
    assert.equal(await start('elsewhere'), codeName(Code.NotFound));
    assert.equal(await start('pod'), 'OK');
    await client.sandbox('ShutdownSandbox', { sandboxId: 'pod' });
  });

  test('tells what its members use', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, pid } = await sandbox(bed);
    await member(bed, client, 'first', ['sleep', '600'], shared(pid));
    const { metrics } = await client.sandbox('SandboxMetrics', { sandboxId: 'pod' });
    assert.ok(metrics?.data && metrics.data.value.length > 0);
    await client.sandbox('ShutdownSandbox', { sandboxId: 'pod' });
  });
});
