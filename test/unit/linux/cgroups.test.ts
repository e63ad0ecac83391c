import assert from 'node:assert/strict';
import { closeSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupDirectories, cgroupLayout, parseCgroupMemberships } from '../../../src/linux/cgroups/layout.ts';
import { hugepageSizeName, parseCount } from '../../../src/linux/cgroups/files.ts';
import { parseOomKills } from '../../../src/linux/cgroups/memory-kills.ts';
import { cgroupMetricsV1 } from '../../../src/linux/cgroups/metrics-v1.ts';
import { cgroupMetricsV2 } from '../../../src/linux/cgroups/metrics-v2.ts';
import {
  CgroupMoves,
  cgroupsOfProcess,
  containerCgroups,
  detectCgroupLayout,
  killCgroup,
  openOomNotifier,
  parseMountInfo,
  processesInCgroups,
  readCgroupMetrics,
  readOomKills,
  removeCgroups,
} from '../../../src/linux/index.ts';
import type { CgroupDirectories } from '../../../src/linux/index.ts';
import { native, until, Watcher } from './addon.ts';

const maxUint64 = 18446744073709551615n;

const mounts = {
  v1: [
    '30 1 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
    '31 1 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
    '32 1 0:28 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,xattr,release_agent=/lib/systemd/agent,name=systemd',
  ].join('\n'),
  v2: '24 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot',
};

test('the layout is told from the mounts: v1, v2, hybrid, none', () => {
  const modes = [mounts.v1, mounts.v2, `${mounts.v1}\n${mounts.v2}`, ''].map(
    (text) => cgroupLayout(parseMountInfo(text)).mode,
  );
  assert.deepEqual(modes, ['v1', 'v2', 'hybrid', 'none']);
  const named = cgroupLayout(parseMountInfo(`${mounts.v2}\n${mounts.v1.split('\n')[2] ?? ''}`));
  assert.equal(named.mode, 'v2', 'a named hierarchy has no controllers');
});

test("a process's cgroups are directories by controller", () => {
  const layout = cgroupLayout(parseMountInfo(`${mounts.v1}\n${mounts.v2}`));
  const memberships = parseCgroupMemberships(
    '5:memory:/k8s/pod:1\n4:cpu,cpuacct:/\n3:pids:/unmounted\n1:name=systemd:/s\n0::/u (deleted)\n',
  );
  assert.deepEqual(cgroupDirectories(layout, memberships), {
    memory: '/sys/fs/cgroup/memory/k8s/pod:1',
    cpu: '/sys/fs/cgroup/cpu,cpuacct',
    cpuacct: '/sys/fs/cgroup/cpu,cpuacct',
    'name=systemd': '/sys/fs/cgroup/systemd/s',
    '': '/sys/fs/cgroup/u',
  });
  assert.throws(() => parseCgroupMemberships('nonsense\n'), SyntaxError);
});

test('where only a part of a hierarchy is mounted, paths are relative to it', () => {
  const layout = cgroupLayout(parseMountInfo('30 1 0:26 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw'));
  const directories = ['/docker/abc/x', '/docker/abc', '/docker/abcd'].map(
    (path) => cgroupDirectories(layout, [{ controllers: [''], path }])[''],
  );
  assert.deepEqual(directories, ['/sys/fs/cgroup/x', '/sys/fs/cgroup', '/sys/fs/cgroup/docker/abcd']);
});

test('numbers are read as the kernel writes them', () => {
  assert.equal(parseCount('max\n'), maxUint64);
  assert.equal(parseCount('18446744073709551615\n'), maxUint64);
  assert.equal(parseCount('9223372036854771712\n'), 9223372036854771712n);
  for (const text of ['-1\n', '', 'nonsense', undefined]) assert.equal(parseCount(text), 0n);
  assert.deepEqual(['hugepages-2048kB', 'hugepages-1048576kB', 'hugepages-64kB', 'x'].map(hugepageSizeName), [
    '2MB',
    '1GB',
    '64KB',
    undefined,
  ]);
  assert.equal(parseOomKills('oom_kill_disable 0\nunder_oom 0\noom_kill 3\n'), 3);
  assert.equal(parseOomKills('low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n'), 1);
});

test('metrics of cgroup v2 are read from its files', () => {
  const files: Record<string, string> = {
    'pids.current': '3\n',
    'pids.max': 'max\n',
    'cpu.stat':
      'usage_usec 100\nuser_usec 60\nsystem_usec 40\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\nnr_bursts 1\nburst_usec 8\n',
    'cpu.pressure':
      'some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n',
    'memory.stat':
      'anon 4096\nfile 8192\nworkingset_refault_anon 3\nworkingset_refault_file 4\nworkingset_activate 9\npgfault 77\nslab 5\n',
    'memory.current': '20480\n',
    'memory.max': '9007199254740993\n',
    'memory.swap.max': 'max\n',
    'memory.events': 'low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n',
    'io.stat': '8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n253:1 \n7:0 rbytes=18446744073709551615\n',
    'rdma.current': 'mlx4_0 hca_handle=2 hca_object=2000\n',
    'rdma.max': 'mlx4_0 hca_handle=max hca_object=max\n',
    'hugetlb.2MB.current': '4194304\n',
    'hugetlb.2MB.max': 'max\n',
    'hugetlb.2MB.events': 'max 2\n',
  };
  const metrics = cgroupMetricsV2((controller, name) => (controller === '' ? files[name] : undefined), ['2MB', '1GB']);
  assert.deepEqual(metrics.pids, { current: 3n, limit: maxUint64 });
  assert.deepEqual(metrics.cpu, {
    usageUsec: 100n,
    userUsec: 60n,
    systemUsec: 40n,
    nrPeriods: 5n,
    nrThrottled: 2n,
    throttledUsec: 7n,
    nrBursts: 1n,
    burstUsec: 8n,
    psi: {
      some: { avg10: 1.5, avg60: 0.25, avg300: 0, total: 12345n },
      full: { avg10: 0, avg60: 0, avg300: 0, total: 1n },
    },
  });
  const { memory } = metrics;
  assert.deepEqual(
    [memory?.anon, memory?.file, memory?.workingsetRefault, memory?.workingsetActivate],
    [4096n, 8192n, 7n, 9n],
  );
  assert.deepEqual(
    [memory?.usage, memory?.usageLimit, memory?.swapLimit, memory?.maxUsage],
    [20480n, 9007199254740993n, maxUint64, 0n],
  );
  assert.equal(memory?.psi, undefined);
  assert.deepEqual(metrics.memoryEvents, { low: 1n, high: 2n, max: 3n, oom: 4n, oomKill: 5n, oomGroupKill: 6n });
  assert.deepEqual(metrics.io?.usage, [
    { major: 8n, minor: 0n, rbytes: 10n, wbytes: 20n, rios: 1n, wios: 2n },
    { major: 7n, minor: 0n, rbytes: maxUint64, wbytes: 0n, rios: 0n, wios: 0n },
  ]);
  assert.deepEqual(metrics.rdma, {
    current: [{ device: 'mlx4_0', hcaHandles: 2, hcaObjects: 2000 }],
    limit: [{ device: 'mlx4_0', hcaHandles: 4294967295, hcaObjects: 4294967295 }],
  });
  assert.deepEqual(metrics.hugetlb, [{ pagesize: '2MB', current: 4194304n, max: maxUint64, failcnt: 2n }]);
  assert.deepEqual(
    cgroupMetricsV2(() => undefined, ['2MB']),
    { hugetlb: [] },
  );
});

test('metrics of cgroup v1 are read from its files', () => {
  const files: Record<string, string> = {
    'pids/pids.current': '2\n',
    'pids/pids.max': 'max\n',
    'cpuacct/cpuacct.usage': '1234567890123\n',
    'cpuacct/cpuacct.stat': 'user 300\nsystem 12\n',
    'cpuacct/cpuacct.usage_percpu': '1000 2000 \n',
    'cpu/cpu.stat': 'nr_periods 4\nnr_throttled 1\nthrottled_time 99\n',
    'memory/memory.stat': 'cache 1\nrss 2\nhierarchical_memory_limit 9223372036854771712\ntotal_pgmajfault 6\n',
    'memory/memory.usage_in_bytes': '4096\n',
    'memory/memory.max_usage_in_bytes': '8192\n',
    'memory/memory.limit_in_bytes': '9223372036854771712\n',
    'memory/memory.failcnt': '3\n',
    'memory/memory.kmem.tcp.usage_in_bytes': '17\n',
    'memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 1\noom_kill 2\n',
    'blkio/blkio.bfq.io_service_bytes_recursive': 'Total 0\n',
    'blkio/blkio.throttle.io_service_bytes_recursive': '8:0 Read 4096\n8:0 Write 0\n8:0 Total 4096\nTotal 4096\n',
    'blkio/blkio.sectors_recursive': '8:0 8\n',
    'hugetlb/hugetlb.1GB.usage_in_bytes': '0\n',
    'hugetlb/hugetlb.1GB.max_usage_in_bytes': '1073741824\n',
  };
  const read = (controller: string, name: string): string | undefined => files[`${controller}/${name}`];
  const metrics = cgroupMetricsV1(read, 'major minor  #blocks  name\n\n   8        0   10485760 sda\n', ['1GB']);
  assert.deepEqual(metrics.pids, { current: 2n, limit: 0n });
  assert.deepEqual(metrics.cpu, {
    usage: { total: 1234567890123n, user: 3_000_000_000n, kernel: 120_000_000n, perCpu: [1000n, 2000n] },
    throttling: { periods: 4n, throttledPeriods: 1n, throttledTime: 99n },
  });
  const { memory, blkio } = metrics;
  assert.deepEqual([memory?.cache, memory?.rss, memory?.totalPgMajFault, memory?.dirty], [1n, 2n, 6n, 0n]);
  assert.deepEqual(memory?.usage, { limit: 9223372036854771712n, usage: 4096n, max: 8192n, failcnt: 3n });
  assert.equal(memory.kernelTcp.usage, 17n);
  assert.deepEqual(metrics.memoryOomControl, { oomKillDisable: 0n, underOom: 1n, oomKill: 2n });
  const entry = { device: '/dev/sda', major: 8n, minor: 0n };
  assert.deepEqual(blkio?.ioServiceBytesRecursive, [
    { ...entry, op: 'Read', value: 4096n },
    { ...entry, op: 'Write', value: 0n },
    { ...entry, op: 'Total', value: 4096n },
  ]);
  assert.deepEqual(blkio.sectorsRecursive, [{ ...entry, op: '', value: 8n }]);
  assert.deepEqual(blkio.ioQueuedRecursive, []);
  assert.deepEqual(metrics.hugetlb, [{ pagesize: '1GB', usage: 0n, max: 1073741824n, failcnt: 0n }]);
  assert.equal(metrics.rdma, undefined);
  assert.deepEqual(
    cgroupMetricsV1(() => undefined, '', []),
    { hugetlb: [] },
  );
});

const layout = detectCgroupLayout();
const watcher = new Watcher();
after(() => watcher.loop.stop());

/** New cgroups under those of this process, in every hierarchy with controllers (on v2: the unified one). */
function newCgroups(name: string): CgroupDirectories {
  const own = Object.entries(cgroupsOfProcess(layout, 'self') ?? {});
  const made = own
    .filter(([controller]) => !controller.startsWith('name=') && (controller !== '' || layout.mode === 'v2'))
    .filter(([controller]) => controller !== 'cpuset')
    .map(([controller, directory]): [string, string] => [
      controller,
      join(directory, `berth-test-${process.pid}-${name}`),
    ]);
  for (const [, directory] of made) mkdirSync(directory, { recursive: true });
  return Object.fromEntries(made);
}

function spawnIn(cgroups: CgroupDirectories, script: string): number {
  const directories = [...new Set(Object.values(cgroups))];
  const argv = ['sh', '-c', script];
  return native.spawn({ file: '/bin/sh', argv, env: ['PATH=/bin:/usr/bin'], fds: [-1, 2, 2], cgroups: directories });
}

test('a container is counted, its processes are listed and killed, and its cgroups removed', async () => {
  const cgroups = newCgroups('life');
  const pid = spawnIn(cgroups, 'sleep 60 & i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; wait');
  await until(() => processesInCgroups(cgroups).length === 2);
  assert.deepEqual(containerCgroups(pid), cgroups, 'only what is its own');
  assert.deepEqual(containerCgroups(process.pid), {});
  await sleep(100);
  const { version, metrics } = readCgroupMetrics(cgroups);
  assert.equal(version, layout.mode === 'v2' ? 2 : 1);
  assert.equal(metrics.pids?.current, 2n);
  const used =
    metrics.cpu === undefined ? 0n : 'usage' in metrics.cpu ? metrics.cpu.usage.total / 1000n : metrics.cpu.usageUsec;
  assert.ok(used > 1000n, `${used} µs`);

  const inner = join(Object.values(cgroups)[0] ?? '', 'inner');
  mkdirSync(inner);
  await assert.rejects(removeCgroups(cgroups, AbortSignal.abort()), { code: 'EBUSY', syscall: 'rmdir' });
  assert.equal(killCgroup(cgroups, 9), 2);
  assert.equal((await watcher.exitOf(pid)).signal, 9);
  await removeCgroups(cgroups, AbortSignal.timeout(5000));
  for (const directory of Object.values(cgroups)) assert.equal(existsSync(directory), false);
  await removeCgroups(cgroups, AbortSignal.timeout(5000));
  assert.deepEqual(processesInCgroups(cgroups), []);
  assert.equal(killCgroup(cgroups, 9), 0);
  assert.deepEqual(readCgroupMetrics(cgroups).metrics, { hugetlb: [] });
  assert.equal(readOomKills(cgroups), undefined);
  assert.equal(openOomNotifier(cgroups, native), undefined);
});

test('an OOM kill is notified and counted', async () => {
  const cgroups = newCgroups('oom');
  const memory = cgroups.memory ?? cgroups[''] ?? '';
  writeFileSync(join(memory, layout.mode === 'v2' ? 'memory.max' : 'memory.limit_in_bytes'), String(8 << 20));
  const notifier = openOomNotifier(cgroups, native);
  assert.ok(notifier !== undefined);
  assert.equal(readOomKills(cgroups), 0);
  watcher.loop.watch(1, notifier.fd, notifier.priority ? 2 : 1);
  await sleep(20);
  assert.ok(!watcher.events.some(({ kind }) => kind === 'ready'));
  const pid = spawnIn(cgroups, 'exec tail /dev/zero');
  await watcher.of('ready', 1);
  assert.equal((await watcher.exitOf(pid)).signal, 9);
  notifier.acknowledge();
  assert.equal(readOomKills(cgroups), 1);
  watcher.loop.unwatch(1);
  closeSync(notifier.fd);
  await removeCgroups(cgroups, AbortSignal.timeout(5000));
});

test('v1: no eventfd for what is no memory cgroup', () => {
  assert.throws(() => native.oomEventfd('/nonexistent'), { code: 'ENOENT', path: '/nonexistent' });
  assert.throws(() => native.oomEventfd('/proc'), { code: 'ENOENT' });
});

test("the machine's own layout is one that is known", () => {
  assert.notEqual(layout.mode, 'none');
  const own = cgroupsOfProcess(layout, 'self') ?? {};
  for (const directory of Object.values(own)) assert.ok(existsSync(join(directory, 'cgroup.procs')));
  assert.equal(cgroupsOfProcess(layout, 2 ** 22 + 1), undefined);
});

test('a process that expects a move of another stays where it is', async () => {
  const before = cgroupsOfProcess(detectCgroupLayout(), 'self');
  const moves = new CgroupMoves();
  for (let n = 0; n < 3; n++) {
    moves.expect();
    await sleep(30);
  }
  assert.deepEqual(cgroupsOfProcess(detectCgroupLayout(), 'self'), before);
});
