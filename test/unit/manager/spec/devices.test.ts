import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { checkDevices, deviceAccess } from '../../../../src/manager/spec/devices.ts';
import type { cri, Init } from '../../../../src/wire/index.ts';
import { containerConfig, refuses, rejects } from './configs.ts';

const folder = mkdtempSync(join(tmpdir(), 'berth-spec-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const nobody = { allow: false, access: 'rwm' };
const access = async (init: Init<cri.ContainerConfig>) => await deviceAccess(containerConfig(init));

function mknod(path: string, type: 'b' | 'c' | 'p', ...numbers: string[]): void {
  assert.equal(spawnSync('mknod', ['-m', '640', path, type, ...numbers]).status, 0);
}

test('a container may use no device but the runtime’s usual ones', async () => {
  assert.deepEqual(await access({}), { devices: [], rules: [nobody] });
});

test('a device is the same in the container, under its path there, with the permissions asked for', async () => {
  symlinkSync('/dev/full', join(folder, 'link'));
  const { devices, rules } = await access({
    devices: [
      { hostPath: '/dev/zero', permissions: 'rw' },
      { hostPath: join(folder, 'link'), containerPath: '/dev/mine/', permissions: 'mr' },
    ],
  });
  assert.deepEqual(
    devices.map(({ type, path, major, minor }) => [type, path, major, minor]),
    [
      ['c', '/dev/zero', 1, 5],
      ['c', '/dev/mine/', 1, 7],
    ],
  );
  assert.deepEqual(rules, [
    nobody,
    { allow: true, type: 'c', major: 1, minor: 5, access: 'rw' },
    { allow: true, type: 'c', major: 1, minor: 7, access: 'mr' },
  ]);
});

test('a folder means the devices in it and below, and nothing else there', async () => {
  const devices = join(folder, 'devices');
  for (const path of ['', 'sub', 'pts', 'shm']) mkdirSync(join(devices, path), { recursive: true });
  mknod(join(devices, 'disk'), 'b', '259', '70000');
  mknod(join(devices, 'sub/zero'), 'c', '1', '5');
  mknod(join(devices, 'pts/0'), 'c', '136', '0');
  mknod(join(devices, 'console'), 'c', '5', '1');
  mknod(join(devices, 'fifo'), 'p');
  writeFileSync(join(devices, 'file'), '');
  symlinkSync('/dev/null', join(devices, 'link'));
  const found = await access({ devices: [{ hostPath: devices, containerPath: '/dev/all', permissions: 'r' }] });
  assert.deepEqual(found.devices, [
    { type: 'b', path: '/dev/all/disk', major: 259, minor: 70000, fileMode: 0o640, uid: 0, gid: 0 },
    { type: 'c', path: '/dev/all/sub/zero', major: 1, minor: 5, fileMode: 0o640, uid: 0, gid: 0 },
  ]);
  assert.equal(found.rules.length, 3);
});

test('a privileged container has all devices of the host, and what the request names under the path that it names', async () => {
  const { devices, rules } = await access({
    devices: [{ hostPath: '/dev/zero', containerPath: '/dev/full', permissions: 'r' }],
    linux: { securityContext: { privileged: true } },
  });
  assert.deepEqual(rules.at(-1), { allow: true, access: 'rwm' });
  const full = devices.filter(({ path }) => path === '/dev/full');
  assert.deepEqual(
    full.map(({ minor }) => minor),
    [5],
  );
  assert.ok(devices.some(({ path }) => path === '/dev/null'));
  assert.ok(!devices.some(({ path }) => path.startsWith('/dev/pts/') || path.startsWith('/dev/shm/')));
});

test('what is no device is refused', async () => {
  const of = (hostPath: string) => access({ devices: [{ hostPath, permissions: 'r' }] });
  await rejects(of('/etc/passwd'), /devices\[0\]\.hostPath: .*neither a device/, Code.InvalidArgument);
  await rejects(of('/dev/no-such-device'), /devices\[0\]\.hostPath: .*ENOENT/, Code.InvalidArgument);
  const fifo = join(folder, 'fifo');
  mknod(fifo, 'p');
  await rejects(of(fifo), /neither a device/, Code.InvalidArgument);
});

test('paths and permissions that make no sense, and CDI, are refused by their field', () => {
  const check = (init: Init<cri.ContainerConfig>) => () => checkDevices(containerConfig(init));
  const device = { hostPath: '/dev/null', permissions: 'rwm' };
  check({ devices: [device] })();
  for (const permissions of ['', 'x', 'rr', 'rwmr', 'r w']) {
    refuses(check({ devices: [{ ...device, permissions }] }), /devices\[0\]\.permissions/);
  }
  refuses(check({ devices: [{ ...device, hostPath: 'null' }] }), /devices\[0\]\.hostPath/);
  refuses(check({ devices: [{ ...device, containerPath: 'null' }] }), /devices\[0\]\.containerPath/);
  refuses(check({ CDIDevices: [{ name: 'a/b=c' }] }), /CDIDevices: .*not implemented/, Code.Unimplemented);
  refuses(check({ annotations: { 'cdi.k8s.io/x': 'a/b=c' } }), /annotations\["cdi/, Code.Unimplemented);
});
