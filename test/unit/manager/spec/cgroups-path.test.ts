import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cgroupsPath } from '../../../../src/manager/spec/index.ts';
import { hostFacts, podConfig, refuses } from './configs.ts';

function path(cgroupParent: string, driver: 'cgroupfs' | 'systemd'): string {
  const host = hostFacts({ cgroup: { version: 2, driver, swap: true, hugetlb: true } });
  return cgroupsPath(podConfig({ linux: { cgroupParent } }), 'abc', host);
}

test('with cgroupfs a container is below its pod’s parent', () => {
  assert.equal(path('/kubepods/burstable/pod1', 'cgroupfs'), '/kubepods/burstable/pod1/abc');
  assert.equal(path('relative/', 'cgroupfs'), '/relative/abc');
  assert.equal(path('', 'cgroupfs'), '/berth/abc');
});

test('with systemd it is a scope in the parent’s slice', () => {
  assert.equal(path('/kubepods.slice/kubepods-pod1.slice', 'systemd'), 'kubepods-pod1.slice:cri-berth:abc');
  assert.equal(path('', 'systemd'), 'system.slice:cri-berth:abc');
});

test('a parent for the other driver is refused, and so is one that leads elsewhere', () => {
  refuses(() => path('/a.slice', 'cgroupfs'), /cgroupParent: .*slice of systemd.*cgroupfs/);
  refuses(() => path('/kubepods', 'systemd'), /cgroupParent: .*no slice.*systemd/);
  refuses(() => path('/a/../../b', 'cgroupfs'), /leads upwards/);
  refuses(() => path('/a\nb', 'cgroupfs'), /control characters/);
});
