import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { bootstrap, packAny, protobuf, runc, task, types } from '../../src/wire/index.ts';
import { sandboxIdAnnotation } from '../support/bundle.ts';
import { command } from '../support/command.ts';
import { ociRuntimes, shimBinary } from '../support/paths.ts';
import { hasEnded } from '../support/process-tree.ts';
import { ShimBed } from '../support/shim-bed.ts';
import { runcOptions, ShimClient, shimCommand } from '../support/shim-client.ts';
import { until } from '../support/until.ts';

const sigkill = 9;
const runcOptionsAny = protobuf.Any.encode(packAny(runc.Options, { binaryName: ociRuntimes.runc }));

describe('the shim, asked about itself', () => {
  test('-v names the program and its version', async () => {
    const { code, stdout } = await command(shimBinary, ['-v']);
    assert.equal(code, 0);
    assert.match(stdout, /^containerd-shim-berth-v2:\n {2}Version: +\d+\.\d+\.\d+/);
  });

  test('-info tells the runtime and its features, for the options on stdin', async (t) => {
    const bed = await ShimBed.open(t);
    const options = bed.bundle('any', ['true']);
    const { code, stdout } = await shimCommand({ ...options, flags: ['-info'], stdin: runcOptionsAny });
    assert.equal(code, 0);
    const info = types.RuntimeInfo.decode(stdout);
    assert.match(info.name, /berth/);
    assert.equal(info.options?.typeUrl, runc.Options.typeName);
    assert.ok(info.version?.version);
  });

  test('an unknown command or flag is refused by name', async () => {
    for (const args of [['begin'], ['-colour', 'start']]) {
      const { code, stderr } = await command(shimBinary, args);
      assert.notEqual(code, 0);
      assert.match(stderr, /begin|colour/);
    }
  });
});

describe('shim start', () => {
  const forms = [
    { caller: 'containerd 1.6', env: { MAX_SHIM_VERSION: undefined }, stdin: undefined, form: 'plain', version: 2 },
    {
      caller: 'containerd 1.6 with options',
      env: { MAX_SHIM_VERSION: undefined },
      stdin: runcOptionsAny,
      form: 'plain',
      version: 2,
    },
    { caller: 'containerd 1.7', env: { MAX_SHIM_VERSION: '2' }, stdin: runcOptionsAny, form: 'json', version: 2 },
    { caller: 'containerd 2.0', env: { MAX_SHIM_VERSION: '3' }, stdin: runcOptionsAny, form: 'json', version: 3 },
  ] as const;
  for (const { caller, env, stdin, form, version } of forms) {
    test(`answers ${caller} in its form, and serves the version that it names`, async (t) => {
      const bed = await ShimBed.open(t);
      const client = await bed.shim('one', ['true'], { env, ...(stdin && { stdin }) });
      assert.deepEqual({ form: client.bootstrap.form, version: client.bootstrap.version }, { form, version });
      assert.ok(!hasEnded(await client.shimPid()));
    });
  }

  test('answers BootstrapParams on stdin with a BootstrapResult, and puts its socket where they say', async (t) => {
    const bed = await ShimBed.open(t);
    const socketDir = bed.path('s');
    const params = { instanceId: 'one', namespace: bed.scratch.mark, containerdGrpcAddress: bed.sink.path, socketDir };
    const stdin = bootstrap.BootstrapParams.encode({ ...params, containerdTtrpcAddress: bed.sink.path });
    const client = await bed.shim('one', ['true'], { stdin });
    const { form, version, protocol, address } = client.bootstrap;
    assert.deepEqual({ form, version, protocol }, { form: 'protobuf', version: 3, protocol: 'ttrpc' });
    assert.ok(address.startsWith(`unix://${socketDir}/`), address);
  });

  test('leaves a shim in a session of its own, which only root can reach', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['true']);
    const pid = await client.shimPid();
    const [, , group, session] = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    assert.deepEqual([Number(group), Number(session)], [pid, pid]);
    const { mode, uid } = statSync(client.pathOf(client.bootstrap.address));
    assert.deepEqual([mode & 0o777, uid], [0o600, 0]);
  });

  test('for a container whose shim is there already gives the same address', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['true']);
    const again = await ShimClient.start(client.options);
    assert.deepEqual(again.bootstrap, client.bootstrap);
    assert.equal(await again.shimPid(), await client.shimPid());
    again.disconnect();
  });

  test('replaces the socket that a killed shim has left', async (t) => {
    const bed = await ShimBed.open(t);
    const first = await bed.shim('one', ['true']);
    const pid = await first.shimPid();
    process.kill(pid, 'SIGKILL');
    await until('the shim to be gone', () => hasEnded(pid));
    const second = bed.track(await ShimClient.start(first.options));
    assert.notEqual(await second.shimPid(), pid);
  });

  test('that fails after its socket is made takes it away', async (t) => {
    const bed = await ShimBed.open(t);
    const options = bed.bundle('one', ['true']);
    const sockets = join(bed.scratch.folder, 'sockets');
    mkdirSync(join(options.bundle, 'address')); // where a file is to be written
    const { code, stderr } = await shimCommand({ ...options, env: { SHIM_SOCKET_DIR: sockets } }, 'start');
    assert.notEqual(code, 0);
    assert.match(stderr, /EISDIR/);
    assert.deepEqual(readdirSync(sockets), []);
  });

  test('refuses an id that leads out of its folder', async (t) => {
    const bed = await ShimBed.open(t);
    const options = bed.bundle('one', ['true']);
    const { code, stdout, stderr } = await shimCommand({ ...options, id: '../one' }, 'start');
    assert.notEqual(code, 0);
    assert.equal(stdout.length, 0);
    assert.match(stderr, /\.\.\/one/);
  });

  test('lets containers of one sandbox share a shim, which stays until the last one is deleted', async (t) => {
    const bed = await ShimBed.open(t);
    const annotations = { [sandboxIdAnnotation]: 'pod' };
    const pod = await bed.running('pod', ['sleep', '600'], { annotations });
    const member = await bed.running('member', ['sleep', '600'], { annotations });
    const other = await bed.running('other', ['sleep', '600'], { annotations: { [sandboxIdAnnotation]: 'elsewhere' } });
    const pid = await pod.client.shimPid();
    assert.equal(await member.client.shimPid(), pid);
    assert.notEqual(await other.client.shimPid(), pid);

    for (const { client } of [pod, member]) {
      await client.shutdown();
      assert.ok(!hasEnded(pid), 'a shim with containers ended');
      await client.kill(sigkill);
      await client.wait();
      await client.delete();
    }
    await member.client.shutdown();
    await until('the shim to end', () => hasEnded(pid));
    assert.ok(!hasEnded(await other.client.shimPid()));
  });
});

describe('shim delete', () => {
  test('cleans up after a shim that was killed, and says how the container ended', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, pid } = await bed.running('one', ['sleep', '600']);
    const shim = await client.shimPid();
    process.kill(shim, 'SIGKILL');
    await until('the shim to be gone', () => hasEnded(shim));
    const { code, stdout } = await client.deleteCommand();
    assert.equal(code, 0);
    const answer = task.DeleteResponse.decode(stdout);
    assert.deepEqual({ pid: answer.pid, exitStatus: answer.exitStatus }, { pid, exitStatus: 128 + sigkill });
    assert.ok(answer.exitedAt);
    assert.ok(hasEnded(pid));
    assert.ok(!existsSync(client.pathOf(client.bootstrap.address)), 'its socket stayed');
    const again = await client.deleteCommand();
    assert.deepEqual(
      task.DeleteResponse.decode(again.stdout),
      answer,
      'who was killed before it had the answer asks once more',
    );
  });

  test('of a container that was never created succeeds', async (t) => {
    const bed = await ShimBed.open(t);
    const options = bed.bundle('one', ['true']);
    const { code, stdout } = await shimCommand({ ...options, flags: ['-bundle', options.bundle] }, 'delete');
    assert.equal(code, 0);
    assert.equal(task.DeleteResponse.decode(stdout).exitStatus, 128 + sigkill);
  });

  test('ends a shim that is still there when nothing is left for it', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, pid } = await bed.running('one', ['sleep', '600']);
    const shim = await client.shimPid();
    assert.equal((await client.deleteCommand()).code, 0);
    await until('container and shim to end', () => hasEnded(pid) && hasEnded(shim));
  });

  test('of one member leaves the others of the sandbox alone', async (t) => {
    const bed = await ShimBed.open(t);
    const annotations = { [sandboxIdAnnotation]: 'pod' };
    const pod = await bed.running('pod', ['sleep', '600'], { annotations });
    const member = await bed.running('member', ['sleep', '600'], { annotations });
    await member.client.deleteCommand();
    await until('the member to end', () => hasEnded(member.pid));
    assert.equal((await pod.client.state()).pid, pod.pid);
    assert.ok(!hasEnded(pod.pid));
  });

  test('uses the OCI runtime that the container was created with', async (t) => {
    const bed = await ShimBed.open(t, { runtime: 'crun' });
    const client = await bed.shim('one', ['sleep', '600'], { env: { BERTH_RUNTIME: 'runc' } });
    await client.create({ options: runcOptions({ binaryName: ociRuntimes.crun }) });
    const pid = await client.startTask();
    process.kill(await client.shimPid(), 'SIGKILL');
    assert.equal((await client.deleteCommand()).code, 0);
    await until('the container to end', () => hasEnded(pid));
  });
});
