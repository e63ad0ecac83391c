import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { parseMountInfo } from '../../../../src/linux/index.ts';
import { checkMounts, checkPropagation } from '../../../../src/manager/spec/host-mounts.ts';
import { ImageAccounts, type HostFacts } from '../../../../src/manager/spec/index.ts';
import { mounts } from '../../../../src/manager/spec/mounts.ts';
import type { Mount } from '../../../../src/oci/index.ts';
import { cri, type Init } from '../../../../src/wire/index.ts';
import { containerConfig, hostFacts, imageConfig, podConfig, refuses, rejects } from './configs.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-spec-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const { PROPAGATION_PRIVATE, PROPAGATION_HOST_TO_CONTAINER, PROPAGATION_BIDIRECTIONAL } = cri.MountPropagation;
const { NODE } = cri.NamespaceMode;

interface Given {
  mounts?: Init<cri.Mount>[];
  security?: Init<cri.LinuxContainerSecurityContext>;
  ipc?: cri.NamespaceMode;
  volumes?: { hostPath: string; containerPath: string }[];
  host?: Partial<HostFacts>;
  hostsPath?: string;
}

async function made(given: Given = {}) {
  return await mounts({
    sandbox: {
      id: 's',
      config: podConfig({ linux: { securityContext: { namespaceOptions: { ipc: given.ipc ?? 0 } } } }),
      netnsPath: '/netns',
      pid: 42,
      hostsPath: given.hostsPath ?? '/run/pod/hosts',
      hostnamePath: '/run/pod/hostname',
      resolvConfPath: '/run/pod/resolv.conf',
      hostname: 'web',
    },
    container: {
      id: 'c',
      config: containerConfig({ mounts: given.mounts ?? [], linux: { securityContext: given.security ?? {} } }),
      bundle: '/bundle',
      volumes: given.volumes ?? [],
    },
    image: { record: { id: 'sha256:i', config: imageConfig() }, layers: [] },
    runtimeHandler: 'runc',
    host: hostFacts({ cgroup: { version: 1, driver: 'cgroupfs', swap: true, hugetlb: true }, ...given.host }),
    accounts: new ImageAccounts({ openInLayers: () => [] }),
  });
}

const paths = async (given?: Given) => (await made(given)).mounts.map(({ destination }) => destination);

async function at(destination: string, given?: Given): Promise<Mount> {
  const found = (await made(given)).mounts.filter((mount) => mount.destination === destination);
  assert.equal(found.length, 1, destination);
  return found[0] as Mount;
}

test('every container has the kernel’s file systems, its pod’s files and shared memory', async () => {
  assert.deepEqual(await paths(), [
    '/proc',
    '/dev',
    '/dev/pts',
    '/dev/mqueue',
    '/sys',
    '/sys/fs/cgroup',
    '/etc/hostname',
    '/etc/hosts',
    '/etc/resolv.conf',
    '/dev/shm',
  ]);
  assert.deepEqual((await at('/etc/hosts')).options, ['rbind', 'rprivate', 'rw']);
  assert.equal((await at('/etc/hosts')).source, '/run/pod/hosts');
});

test('with a read-only root the pod’s files are read-only too', async () => {
  assert.deepEqual((await at('/etc/resolv.conf', { security: { readonlyRootfs: true } })).options?.at(-1), 'ro');
});

test('only a privileged container may write to /sys and to cgroups', async () => {
  for (const path of ['/sys', '/sys/fs/cgroup']) {
    assert.ok((await at(path)).options?.includes('ro'));
    const { options } = await at(path, { security: { privileged: true } });
    assert.ok(options?.includes('rw') && !options.includes('ro'));
  }
});

test('shared memory is the pod’s own, or the host’s with its IPC', async () => {
  assert.equal((await at('/dev/shm')).type, 'tmpfs');
  const { type, source } = await at('/dev/shm', { ipc: NODE });
  assert.deepEqual([type, source], ['bind', '/dev/shm']);
});

test('a mount of the request takes the place of any other at its path', async () => {
  const own = ['/etc/hosts/', '/dev/shm', '/sys/fs/cgroup', '/etc/./hostname'];
  const given = { mounts: own.map((containerPath) => ({ containerPath, hostPath: folder })) };
  for (const path of ['/etc/hosts', '/dev/shm', '/sys/fs/cgroup', '/etc/hostname']) {
    assert.equal((await at(path, given)).source, folder);
  }
});

test('a /dev of the request leaves nothing of ours below it but shared memory', async () => {
  const list = await paths({ mounts: [{ containerPath: '/dev', hostPath: '/dev' }] });
  assert.ok(!list.includes('/dev/pts') && !list.includes('/dev/mqueue'));
  assert.ok(list.indexOf('/dev') < list.indexOf('/dev/shm'));
});

test('outer folders are mounted before those in them, else the order of the request holds', async () => {
  const given = ['/a/b/c', '/a', '/z', '/a/b'].map((containerPath) => ({ containerPath, hostPath: folder }));
  const list = (await paths({ mounts: given })).filter((path) => /^\/[az]/.test(path));
  assert.deepEqual(list, ['/a', '/z', '/a/b', '/a/b/c']);
});

test('folders for the image’s volumes are mounted, but not over the pod’s files', async () => {
  const volumes = [
    { hostPath: '/volumes/0', containerPath: '/data' },
    { hostPath: '/volumes/1', containerPath: '/etc/hosts' },
  ];
  assert.deepEqual(await at('/data', { volumes }), {
    destination: '/data',
    type: 'bind',
    source: '/volumes/0',
    options: ['rbind', 'rprivate', 'rw'],
  });
  assert.equal((await at('/etc/hosts', { volumes })).source, '/run/pod/hosts');
});

test('a sandbox without a file leaves the image’s own', async () => {
  assert.ok(!(await paths({ hostsPath: '' })).includes('/etc/hosts'));
});

test('a path of the host that is not there becomes a folder, and links of the host are followed', async () => {
  const missing = join(folder, 'new/folder');
  assert.equal((await at('/m', { mounts: [{ containerPath: '/m', hostPath: missing }] })).source, missing);
  assert.ok(existsSync(missing));
  const target = join(folder, 'target');
  writeFileSync(target, '');
  symlinkSync(target, join(folder, 'link'));
  const link = join(folder, 'link');
  assert.equal((await at('/m', { mounts: [{ containerPath: '/m', hostPath: link }] })).source, target);
  symlinkSync('/nowhere/at/all', join(folder, 'dangling'));
  const dangling = { containerPath: '/m', hostPath: join(folder, 'dangling') };
  await rejects(
    made({ mounts: [dangling] }),
    /mounts\[0\]\.hostPath: .*dangling cannot be used/,
    Code.FailedPrecondition,
  );
  await rejects(
    made({ mounts: [{ containerPath: '/m', hostPath: join(target, 'below') }] }),
    /cannot be used: ENOTDIR/,
    Code.FailedPrecondition,
  );
});

test('mounts are read-only as asked for; with all below them only where the host can', async () => {
  mkdirSync(join(folder, 'ro'), { recursive: true });
  const mount = { containerPath: '/m', hostPath: join(folder, 'ro'), readonly: true };
  assert.deepEqual((await at('/m', { mounts: [mount] })).options, ['rbind', 'rprivate', 'ro']);
  const deep = { ...mount, recursiveReadOnly: true };
  assert.deepEqual((await at('/m', { mounts: [deep] })).options, ['rbind', 'rprivate', 'rro']);
  const without = { mounts: [deep], host: { recursiveReadOnly: false } };
  await rejects(made(without), /^RROUnsupported: /, Code.FailedPrecondition);
});

test('mounts that go between host and container need a host’s mount that lets them', () => {
  const text = [
    '1 0 8:1 / / rw shared:1 - ext4 /dev/a rw',
    '2 1 8:2 / /slave rw master:1 - ext4 /dev/b rw',
    '3 1 8:3 / /private rw - ext4 /dev/c rw',
    '4 1 8:4 / /slave rw - tmpfs x rw',
  ];
  const points = parseMountInfo(`${text.slice(0, 3).join('\n')}\n`);
  checkPropagation(PROPAGATION_BIDIRECTIONAL, '/srv', points);
  checkPropagation(PROPAGATION_BIDIRECTIONAL, '/slavery', points);
  checkPropagation(PROPAGATION_HOST_TO_CONTAINER, '/slave/x', points);
  const check =
    (mode: cri.MountPropagation, path: string, list = points) =>
    () =>
      checkPropagation(mode, path, list);
  const { FailedPrecondition } = Code;
  refuses(check(PROPAGATION_BIDIRECTIONAL, '/slave'), /"\/slave" but it is not a shared mount/, FailedPrecondition);
  refuses(check(PROPAGATION_HOST_TO_CONTAINER, '/private/x'), /not a shared or slave mount/, FailedPrecondition);
  const covered = parseMountInfo(`${text.join('\n')}\n`);
  refuses(check(PROPAGATION_HOST_TO_CONTAINER, '/slave', covered), /not a shared or slave/, FailedPrecondition);
});

test('what cannot be mounted is refused by its field', () => {
  const check = (mount: Init<cri.Mount>) => () =>
    checkMounts(containerConfig({ mounts: [{ containerPath: '/ok', hostPath: '/ok' }, mount] }).mounts);
  const good = { containerPath: '/m', hostPath: '/srv' };
  check(good)();
  refuses(check({ ...good, containerPath: 'm' }), /mounts\[1\]\.containerPath: "m" is no absolute path/);
  refuses(check({ ...good, containerPath: '' }), /containerPath/);
  refuses(check({ ...good, containerPath: '/a/..' }), /nothing can be mounted over the whole container/);
  refuses(check({ ...good, hostPath: '' }), /mounts\[1\]\.hostPath/);
  refuses(check({ ...good, hostPath: 'srv' }), /mounts\[1\]\.hostPath/);
  refuses(check({ ...good, hostPath: '/a\0b' }), /mounts\[1\]\.hostPath/);
  refuses(check({ ...good, propagation: 9 as 0 }), /propagation: 9/);
  refuses(check({ ...good, recursiveReadOnly: true }), /recursiveReadOnly: is true, and readonly is not/);
  const shared = { ...good, readonly: true, recursiveReadOnly: true, propagation: PROPAGATION_HOST_TO_CONTAINER };
  refuses(check(shared), /private propagation only/);
  check({ ...shared, propagation: PROPAGATION_PRIVATE })();
  refuses(check({ ...good, uidMappings: [{ length: 1 }] }), /not implemented/, Code.Unimplemented);
  const image = { containerPath: '/m', image: { image: 'busybox' } };
  refuses(check(image), /mounts\[1\]\.image: images as mounts are not implemented/, Code.Unimplemented);
});
