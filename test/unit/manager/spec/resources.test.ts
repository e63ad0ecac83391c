import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { oomScoreAdj, resourceWarnings, updateResources } from '../../../../src/manager/spec/resources.ts';
import type { cri, Init } from '../../../../src/wire/index.ts';
import { containerResources, hostFacts, refuses } from './configs.ts';

const v2 = hostFacts();
const poor = hostFacts({ cgroup: { version: 1, driver: 'cgroupfs', swap: false, hugetlb: false } });
const update = (init: Init<cri.LinuxContainerResources>, host = v2) => updateResources(containerResources(init), host);

test('what is not given is left as it is', () => {
  assert.deepEqual(update({}), {});
});

test('processor, memory, huge pages and files of cgroup v2', () => {
  assert.deepEqual(
    update({
      cpuShares: 512,
      cpuQuota: 50_000,
      cpuPeriod: 100_000,
      cpusetCpus: '0-1,3',
      cpusetMems: '0',
      memoryLimitInBytes: 1 << 20,
      memorySwapLimitInBytes: 2 << 20,
      hugepageLimits: [{ pageSize: '2MB', limit: 0 }],
      unified: { 'memory.high': '900000' },
    }),
    {
      cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: '0-1,3', mems: '0' },
      memory: { limit: 1 << 20, swap: 2 << 20 },
      hugepageLimits: [{ pageSize: '2MB', limit: 0 }],
      unified: { 'memory.high': '900000' },
    },
  );
});

test('a container with a limit of memory does not swap, unless it is asked for', () => {
  assert.deepEqual(update({ memoryLimitInBytes: 4096 }), { memory: { limit: 4096, swap: 4096 } });
  assert.deepEqual(update({ memoryLimitInBytes: 4096, memorySwapLimitInBytes: -1 }), {
    memory: { limit: 4096, swap: -1 },
  });
  assert.deepEqual(update({ memoryLimitInBytes: 4096 }, poor), { memory: { limit: 4096 } });
});

test('limits that no number in JSON holds exactly are the greatest that one does', () => {
  const limit = Number.MAX_SAFE_INTEGER;
  assert.deepEqual(update({ memoryLimitInBytes: 2n ** 63n - 1n }), { memory: { limit, swap: limit } });
  assert.deepEqual(update({ hugepageLimits: [{ pageSize: '1GB', limit: 2n ** 64n - 1n }] }), {
    hugepageLimits: [{ pageSize: '1GB', limit }],
  });
});

test('what the host cannot limit is left out and told, but files of cgroup v2 are refused on v1', () => {
  const asked = { hugepageLimits: [{ pageSize: '2MB', limit: 1 }], memorySwapLimitInBytes: 5 };
  assert.deepEqual(update(asked, poor), {});
  assert.equal(resourceWarnings(containerResources(asked), poor).length, 2);
  assert.deepEqual(resourceWarnings(containerResources(asked), v2), []);
  const zero = containerResources({ hugepageLimits: [{ pageSize: '2MB', limit: 0 }] });
  assert.deepEqual(resourceWarnings(zero, poor), [], 'kubelet always sends limits of nothing');
  refuses(() => update({ unified: { 'pids.max': '5' } }, poor), /unified: .*cgroup v1/, Code.FailedPrecondition);
});

test('values that make no sense are refused by their field', () => {
  const cases: [Init<cri.LinuxContainerResources>, RegExp][] = [
    [{ cpuPeriod: 1 }, /linux\.cpuPeriod: 1 µs/],
    [{ cpuQuota: -2 }, /linux\.cpuQuota/],
    [{ cpuShares: -1 }, /linux\.cpuShares/],
    [{ memoryLimitInBytes: -5 }, /linux\.memoryLimitInBytes/],
    [{ memoryLimitInBytes: 10, memorySwapLimitInBytes: 5 }, /linux\.memorySwapLimitInBytes: 5 counts memory and swap/],
    [{ oomScoreAdj: 1001 }, /linux\.oomScoreAdj/],
    [{ cpusetCpus: '0;1' }, /linux\.cpusetCpus/],
    [{ cpusetMems: 'a' }, /linux\.cpusetMems/],
    [{ hugepageLimits: [{ pageSize: '../2MB' }] }, /hugepageLimits\[0\]\.pageSize/],
    [{ unified: { '../memory.max': '1' } }, /unified\["\.\.\/memory\.max"\]/],
    [{ unified: { 'memory.max/x': '1' } }, /unified/],
    [{ unified: { 'memory.max': '1\0' } }, /control characters/],
  ];
  for (const [init, message] of cases) refuses(() => update(init), message);
});

test('an oom_score_adj below what this process may give becomes the lowest that it may', () => {
  const resources = containerResources({ oomScoreAdj: -997 });
  assert.equal(oomScoreAdj(resources, { oomScoreAdjMinimum: -1000 }), -997);
  assert.equal(oomScoreAdj(resources, { oomScoreAdjMinimum: 0 }), 0);
  assert.equal(oomScoreAdj(undefined, { oomScoreAdjMinimum: 0 }), undefined);
});
