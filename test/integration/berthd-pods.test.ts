import assert from 'node:assert/strict';
import { chmodSync, readlinkSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import { cri } from '../../src/wire/index.ts';
import { BerthdBed } from '../support/berthd-bed.ts';
import { podInfo } from '../support/berthd-inside.ts';
import { ociRuntimes } from '../support/paths.ts';
import { settled } from '../support/leftovers.ts';
import { sharedBed } from '../support/shared-bed.ts';
import { hasEnded } from '../support/process-tree.ts';

const { SANDBOX_READY, SANDBOX_NOTREADY } = cri.PodSandboxState;
const nobody = '0'.repeat(64);

const fails = (code: Code, message = /./) => {
  return (error: unknown) => isRpcError(error, code) && message.test(error.message);
};

describe('a pod', () => {
  const bed = sharedBed();

  test('is as it was asked for, from the first to the last', async () => {
    const { cri: caller } = bed();
    const before = BigInt(Date.now()) * 1_000_000n;
    const id = await caller.runPod('first', { labels: { app: 'web' }, annotations: { note: 'a note' } });
    assert.match(id, /^[0-9a-f]{64}$/);
    const status = await caller.pod(id);
    assert.deepEqual(status.metadata, { name: 'first', uid: 'uid-of-first', namespace: 'default', attempt: 0 });
    assert.equal(status.state, SANDBOX_READY);
    assert.deepEqual([status.labels, status.annotations], [{ app: 'web' }, { note: 'a note' }]);
    assert.match(status.network?.ip ?? '', /^10\.88\.\d+\.\d+$/);
    assert.ok(status.createdAt >= before && status.createdAt <= BigInt(Date.now()) * 1_000_000n);
    const { pid, shim } = await podInfo(bed(), id);
    assert.ok(shim);
    assert.ok(!hasEnded(pid) && !hasEnded(shim.pid));

    await caller.stopPod(id);
    assert.equal((await caller.pod(id)).state, SANDBOX_NOTREADY);
    assert.ok(hasEnded(pid) && hasEnded(shim.pid), 'the processes of a pod that is stopped have ended');
    await caller.removePod(id);
    await assert.rejects(caller.pod(id), fails(Code.NotFound));
  });

  test('is found by labels, state and the beginning of its id', async () => {
    const { cri: caller } = bed();
    const [one, two] = await Promise.all([
      caller.runPod('one', { labels: { app: 'web', tier: 'front' } }),
      caller.runPod('two', { labels: { app: 'web' } }),
    ]);
    await caller.stopPod(two);
    const found = async (filter: Parameters<typeof caller.runtime<'ListPodSandbox'>>[1]['filter']) => {
      const { items } = await caller.runtime('ListPodSandbox', { filter });
      return items.map(({ metadata }) => metadata?.name).sort();
    };
    assert.deepEqual(await found({ labelSelector: { app: 'web' } }), ['one', 'two']);
    assert.deepEqual(await found({ labelSelector: { app: 'web', tier: 'front' } }), ['one']);
    assert.deepEqual(await found({ labelSelector: { app: 'mail' } }), []);
    assert.deepEqual(await found({ state: { state: SANDBOX_READY }, labelSelector: { app: 'web' } }), ['one']);
    assert.deepEqual(await found({ state: { state: SANDBOX_NOTREADY } }), ['two']);
    assert.deepEqual(await found({ id: one }), ['one']);
    assert.deepEqual(await found({ id: one.slice(0, 13) }), ['one']);
    assert.deepEqual(await found({ id: one, state: { state: SANDBOX_NOTREADY } }), []);
    assert.deepEqual(await found({ id: nobody }), []);
    await Promise.all([caller.removePod(one), caller.removePod(two)]);
    assert.deepEqual(await found(undefined), []);
  });

  test('is stopped and removed as often as it is asked for, and so is one that nobody knows', async () => {
    const { cri: caller } = bed();
    const id = await caller.runPod('again');
    const container = await caller.runContainer(id, 'main', ['sleep', '3600']);
    for (const podSandboxId of [id, id, nobody]) await caller.stopPod(podSandboxId);
    assert.equal((await caller.container(container)).state, cri.ContainerState.CONTAINER_EXITED);
    await Promise.all([1, 2, 3].map(() => caller.runtime('RemovePodSandbox', { podSandboxId: id })));
    for (const podSandboxId of [id, nobody]) await caller.runtime('RemovePodSandbox', { podSandboxId });
    for (const containerId of [container, nobody]) {
      await caller.stopContainer(containerId);
      await caller.removeContainer(containerId);
    }
    const { containers } = await caller.runtime('ListContainers', {});
    assert.deepEqual(containers, [], 'the containers of a pod go with it');
  });

  test('is removed while it runs, with its containers', async () => {
    const { cri: caller } = bed();
    const id = await caller.runPod('running');
    await caller.runContainer(id, 'main', ['sleep', '3600']);
    await caller.runtime('RemovePodSandbox', { podSandboxId: id });
    await assert.rejects(caller.pod(id), fails(Code.NotFound));
  });

  test('has a name that nobody else gets until it is gone', async () => {
    const { cri: caller } = bed();
    const id = await caller.runPod('name');
    await assert.rejects(caller.runPod('name'), fails(Code.AlreadyExists, new RegExp(id)));
    const attempt = { name: 'name', uid: 'uid-of-name', namespace: 'default', attempt: 1 };
    const next = await caller.runPod('name', { metadata: attempt });
    const container = await caller.createContainer(id, 'main', ['true']);
    await assert.rejects(
      caller.createContainer(id, 'main', ['true']),
      fails(Code.AlreadyExists, new RegExp(container)),
    );
    await caller.createContainer(next, 'main', ['true']);
    await Promise.all([caller.removePod(id), caller.removePod(next)]);
    await caller.removePod(await caller.runPod('name'));
  });

  test('is made once, whoever asks for it at the same time', async () => {
    const { cri: caller } = bed();
    const answers = await Promise.allSettled([1, 2, 3, 4].map(() => caller.runPod('raced')));
    const [id, ...others] = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
    assert.ok(id);
    assert.deepEqual(others, []);
    for (const answer of answers) {
      if (answer.status === 'rejected') assert.ok(fails(Code.AlreadyExists)(answer.reason), String(answer.reason));
    }
    await caller.removePod(id);
  });

  test('that is asked for wrongly is refused with the field, and nothing is made', async () => {
    const { cri: caller } = bed();
    const invalid = (message: RegExp) => fails(Code.InvalidArgument, message);
    await assert.rejects(caller.runtime('RunPodSandbox', {}), invalid(/config/));
    await assert.rejects(caller.runPod('bad', { metadata: undefined }), invalid(/metadata/));
    await assert.rejects(caller.runPod(''), invalid(/metadata\.name/));
    await assert.rejects(caller.runPod('bad', { logDirectory: 'logs' }), invalid(/logDirectory/));
    await assert.rejects(caller.runPod('bad', { linux: { cgroupParent: '../..' } }), invalid(/cgroupParent/));
    await assert.rejects(caller.runPod('bad', { runtimeHandler: 'absent' }), fails(Code.NotFound, /"absent".*runc/));
    const { items } = await caller.runtime('ListPodSandbox', {});
    assert.deepEqual(items, []);
  });

  test('that is not there, or is stopped, takes no container', async () => {
    const { cri: caller } = bed();
    await assert.rejects(caller.createContainer(nobody, 'main', ['true']), fails(Code.NotFound, new RegExp(nobody)));
    await assert.rejects(caller.pod(nobody), fails(Code.NotFound));
    await assert.rejects(caller.container(nobody), fails(Code.NotFound));
    await assert.rejects(caller.startContainer(nobody), fails(Code.NotFound));
    await assert.rejects(caller.exec(nobody, ['true']), fails(Code.NotFound));
    const id = await caller.runPod('stopped');
    const absent = { image: { image: 'localhost/absent:latest' } };
    await assert.rejects(caller.createContainer(id, 'main', ['true'], absent), fails(Code.NotFound, /absent/));
    const made = await caller.createContainer(id, 'made', ['true']);
    await caller.stopPod(id);
    await assert.rejects(caller.createContainer(id, 'main', ['true']), fails(Code.FailedPrecondition, new RegExp(id)));
    await assert.rejects(caller.startContainer(made), fails(Code.FailedPrecondition, new RegExp(id)));
    await caller.removePod(id);
  });

  test("on the host's network has the host's interfaces, and no address of its own", async () => {
    const { cri: caller, daemon } = bed();
    const namespaceOptions = { network: cri.NamespaceMode.NODE };
    const id = await caller.runPod('host', { linux: { securityContext: { namespaceOptions } } });
    const status = await caller.pod(id);
    assert.equal(status.network?.ip, '');
    assert.equal(status.linux?.namespaces?.options?.network, cri.NamespaceMode.NODE);
    const security = { linux: { securityContext: { namespaceOptions } } };
    const container = await caller.runContainer(id, 'main', ['sleep', '3600'], security);
    const { stdout } = await caller.exec(container, ['readlink', '/proc/self/ns/net']);
    assert.equal(stdout.trim(), readlinkSync(`/proc/${daemon.pid}/ns/net`));
    await caller.removePod(id);
  });

  test('is reached on its address by another, and knows its own name', async () => {
    const { cri: caller } = bed();
    const server = await caller.runPod('server', { hostname: 'harbour' });
    const client = await caller.runPod('client');
    const listening = await caller.runContainer(server, 'main', ['sh', '-c', 'hostname | nc -l -p 8000']);
    const ip = (await caller.pod(server)).network?.ip ?? '';
    const asking = ['sh', '-c', `for n in $(seq 100); do nc -w 2 ${ip} 8000 </dev/null && break; sleep 0.1; done`];
    const container = await caller.runContainer(client, 'main', asking);
    assert.equal((await caller.exited(container)).exitCode, 0);
    assert.equal(await caller.output(container), 'harbour\n');
    await caller.exited(listening);
    await Promise.all([caller.removePod(server), caller.removePod(client)]);
  });
});

describe('a pod that cannot be made', () => {
  /** A chain whose second plugin refuses, when the first has made an interface and given an address. */
  function breakNetwork(bed: BerthdBed): void {
    const ipam = { type: 'host-local', dataDir: bed.path('leases'), ranges: [[{ subnet: '10.88.0.0/16' }]] };
    const plugins = [
      { type: 'bridge', bridge: 'berth-test0', isGateway: true, ipam },
      { type: 'tuning', sysctl: { 'net.core.berth_absent': '1' } },
    ];
    const conflist = { cniVersion: '1.0.0', name: 'test', plugins };
    writeFileSync(bed.path('cni/10-test.conflist'), JSON.stringify(conflist));
  }

  test('for its network leaves nothing', async (t) => {
    const bed = await BerthdBed.open(t, { started: false, config: '[shims]\npool_size = 0\n' });
    breakNetwork(bed);
    await bed.start();
    const before = bed.leftovers();
    for (const name of ['one', 'two']) await assert.rejects(bed.cri.runPod(name), /berth_absent/);
    const added = () => bed.leftovers().filter((line) => !before.includes(line));
    assert.deepEqual(await settled(added), []);
    const { items } = await bed.cri.runtime('ListPodSandbox', {});
    assert.deepEqual(items, []);
  });

  test('for its shim leaves nothing', async (t) => {
    const bed = await BerthdBed.open(t, { started: false, config: '[shims]\npool_size = 0\n' });
    const shim = bed.path('containerd-shim-broken-v2');
    writeFileSync(shim, '#!/bin/sh\ncase "$*" in *start*) echo "it is broken" >&2; exit 3;; esac\n');
    chmodSync(shim, 0o755);
    const config = [
      '[shims]',
      'pool_size = 0',
      '[runtimes.runc]',
      `binary = "${ociRuntimes.runc}"`,
      '[runtimes.broken]',
      `shim = "${shim}"`,
    ];
    writeFileSync(bed.path('berthd.toml'), `${config.join('\n')}\n`);
    await bed.start();
    const before = bed.leftovers();
    await assert.rejects(bed.cri.runPod('one', { runtimeHandler: 'broken' }), /it is broken/);
    const added = () => bed.leftovers().filter((line) => !before.includes(line));
    assert.deepEqual(await settled(added), []);
    await bed.cri.removePod(await bed.cri.runPod('one'));
  });
});
