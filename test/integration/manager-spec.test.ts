/**
 * Specifications that the manager makes, run by real runtimes: that they are accepted, and that they do what they say.
 * The pod is a process with namespaces of its own, as a shim's is.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cloneFlags, detectCgroupLayout, isSystemError, readMountInfo, unpinNamespace } from '../../src/linux/index.ts';
import { buildSpec, detectHost, ImageAccounts, sandboxFiles } from '../../src/manager/spec/index.ts';
import { cri, type Init } from '../../src/wire/index.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { type OciRuntime, ociRuntimes } from '../support/paths.ts';
import { makeBusyboxRootfs } from '../support/rootfs.ts';
import { newScratch } from '../support/scratch.ts';
import { native } from '../unit/linux/addon.ts';

const { mark, folder } = newScratch();
const host = detectHost({ cgroupDriver: 'cgroupfs' });
const accounts = new ImageAccounts(native);
const image = join(folder, 'image');
const netnsPath = join(folder, 'netns');
const shared = join(folder, 'shared');
const { CONTAINER, NODE } = cri.NamespaceMode;
let podPid = 0;
let count = 0;

before(() => {
  makeBusyboxRootfs(image);
  writeFileSync(join(image, 'etc/group'), 'root:x:0:\nguest:x:1000:\nlogs:x:20:guest\n');
  mkdirSync(shared);
  native.mount('tmpfs', shared, 'tmpfs', ['shared']);
  native.pinNewNamespace('net', netnsPath);
  podPid = native.spawn({
    file: '/bin/busybox',
    argv: ['sleep', '3600'],
    env: [],
    fds: [-1, -1, -1],
    cloneFlags: cloneFlags.ipc | cloneFlags.uts | cloneFlags.pid,
  });
});

after(async () => {
  native.kill(podPid, 9);
  await collect(podPid);
  unpinNamespace(netnsPath, native);
  native.umount(shared, 0);
  for (const { mountPoint } of detectCgroupLayout().hierarchies.values()) {
    if (existsSync(join(mountPoint, mark))) rmdirSync(join(mountPoint, mark));
  }
  rmSync(folder, { recursive: true });
  assert.deepEqual(
    readMountInfo().filter(({ path }) => path.includes(mark)),
    [],
  );
});

/** Takes a child's end, when it has come. */
async function collect(pid: number): Promise<void> {
  const loop = native.createLoop();
  for (;;) {
    try {
      loop.collect(pid);
      return;
    } catch (error) {
      if (!isSystemError(error, 'EAGAIN')) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

interface Given {
  /** What the container's shell runs; its errors are printed too. */
  script: string;
  pod?: Init<cri.LinuxPodSandboxConfig>;
  container?: Init<cri.ContainerConfig>;
  security?: Init<cri.LinuxContainerSecurityContext>;
  resources?: Init<cri.LinuxContainerResources>;
  imageUser?: string;
}

/** Makes the bundle of a container with the specification that the manager makes of it. */
async function makeBundle(given: Given): Promise<{ id: string; bundle: string }> {
  const id = `${mark}-${count++}`;
  const bundle = join(folder, id);
  makeBusyboxRootfs(join(bundle, 'rootfs'));
  const metadata = { name: 'test' };
  const podConfig = cri.PodSandboxConfig.decode(
    cri.PodSandboxConfig.encode({
      metadata,
      dnsConfig: { servers: ['10.9.8.7'] },
      linux: { cgroupParent: `/${mark}`, ...given.pod },
    }),
  );
  const files = sandboxFiles(podConfig, 'pod-name', ['10.1.2.3']);
  writeFileSync(join(bundle, 'hosts'), files.hosts);
  writeFileSync(join(bundle, 'hostname'), files.hostname);
  writeFileSync(join(bundle, 'resolv.conf'), files.resolvConf);
  const config = cri.ContainerConfig.decode(
    cri.ContainerConfig.encode({
      metadata,
      command: ['/bin/sh', '-c', `exec 2>&1\n${given.script}\ntrue`],
      linux: { securityContext: given.security, resources: given.resources },
      ...given.container,
    }),
  );
  const onHost = podConfig.linux?.securityContext?.namespaceOptions?.network === NODE;
  const imageConfig = { env: ['FROM=image'], entrypoint: [], cmd: [], workingDir: '/tmp', volumes: [], stopSignal: '' };
  const { spec } = await buildSpec({
    sandbox: {
      id: mark,
      config: podConfig,
      netnsPath: onHost ? '' : netnsPath,
      pid: podPid,
      hostsPath: join(bundle, 'hosts'),
      hostnamePath: join(bundle, 'hostname'),
      resolvConfPath: join(bundle, 'resolv.conf'),
      hostname: 'pod-name',
    },
    container: { id, config, bundle, volumes: [] },
    image: {
      record: { id: 'sha256:busybox', config: { ...imageConfig, user: given.imageUser ?? '' } },
      layers: [image],
    },
    runtimeHandler: 'runc',
    host,
    accounts,
  });
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  return { id, bundle };
}

/** crun refuses a layout of cgroups with both versions, so it is not shown the second. */
const withoutUnified = [
  'if mountpoint -q /sys/fs/cgroup/unified; then',
  '  umount /sys/fs/cgroup/unified; mount -t tmpfs x /sys/fs/cgroup/unified',
  'fi',
  'exec "$@"',
].join('\n');

/** What the container prints. */
async function run(runtime: OciRuntime, given: Given): Promise<string> {
  const { id, bundle } = await makeBundle(given);
  const command = [ociRuntimes[runtime], '--root', join(folder, runtime), 'run', '--bundle', bundle, id];
  const apart = ['unshare', '--mount', '--propagation', 'private', 'sh', '-e', '-c', withoutUnified, 'sh'];
  const [file = '', ...args] = runtime === 'crun' ? [...apart, ...command] : command;
  const { status, stdout, stderr } = spawnSync(file, args, { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 0, `${stdout}${stderr}`);
  return stdout;
}

/** A set of capabilities, as /proc/PID/status says it. */
function capabilities(status: string, set: string): bigint {
  return BigInt(`0x${new RegExp(`${set}:\\s*([0-9a-f]+)`).exec(status)?.[1] ?? ''}`);
}

withEachRuntime('a specification of the manager', (runtime) => {
  test('user, groups, environment, working directory and the pod’s files and namespaces are those asked for', async () => {
    const output = await run(runtime, {
      script: 'id; pwd; echo $FROM $HOSTNAME; cat /etc/hostname /etc/resolv.conf /etc/hosts; ls /sys/class/net; ps',
      imageUser: 'guest',
      security: { supplementalGroups: [5000n] },
    });
    assert.match(output, /uid=1000\(guest\) gid=1000\(guest\) groups=20,1000\(guest\),5000|groups=.*20.*5000/);
    assert.match(output, /\n\/tmp\nimage pod-name\npod-name\nnameserver 10\.9\.8\.7\n127\.0\.0\.1\tlocalhost/);
    assert.match(output, /10\.1\.2\.3\tpod-name\nlo\n/, 'the pod’s network has only lo');
    assert.match(output, /\s1 .*sleep 3600/, 'the pod’s first process is seen');
  });

  test('a container can have a PID namespace of its own', async () => {
    const output = await run(runtime, { script: 'echo $$', security: { namespaceOptions: { pid: CONTAINER } } });
    assert.equal(output, '1\n');
  });

  test('a pod can be on the node’s network, with the node’s name and processes', async () => {
    const namespaceOptions = { network: NODE, pid: NODE, ipc: NODE };
    const output = await run(runtime, {
      script: 'for kind in net uts ipc pid; do readlink /proc/self/ns/$kind; done',
      pod: { securityContext: { namespaceOptions } },
    });
    const own = ['net', 'uts', 'ipc', 'pid'].map((kind) => spawnSync('readlink', [`/proc/self/ns/${kind}`]).stdout);
    assert.equal(output, own.join(''));
  });

  test('capabilities are those given, and no_new_privs holds', async () => {
    const status = await run(runtime, {
      script: 'cat /proc/self/status',
      security: {
        noNewPrivs: true,
        runAsUser: { value: 1000 },
        capabilities: { dropCapabilities: ['ALL'], addAmbientCapabilities: ['NET_BIND_SERVICE'] },
      },
    });
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
      assert.equal(capabilities(status, set), 1n << 10n, set);
    }
    assert.match(status, /NoNewPrivs:\s*1/);
  });

  test('a read-only root, masked and read-only paths, and read-only mounts hold', async () => {
    const source = join(folder, `source-${runtime}`);
    mkdirSync(join(source, 'sub'), { recursive: true });
    native.mount('tmpfs', join(source, 'sub'), 'tmpfs', []);
    try {
      const output = await run(runtime, {
        script: [
          'for path in /root/x /etc/hosts /mnt/x /mnt/sub/x; do touch $path; done',
          '(echo 1 >/proc/sys/net/ipv4/ip_forward)',
          'cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l',
          'touch /dev/shm/x && echo shared memory',
        ].join('\n'),
        container: {
          mounts: [{ containerPath: '/mnt', hostPath: source, readonly: true, recursiveReadOnly: true }],
        },
        security: {
          readonlyRootfs: true,
          maskedPaths: ['/proc/timer_list', '/sys/firmware', '/no/such/path'],
          readonlyPaths: ['/proc/sys'],
        },
      });
      for (const path of ['/root/x', '/etc/hosts', '/mnt/x', '/mnt/sub/x', 'ip_forward']) {
        assert.match(output, new RegExp(`${path}: Read-only file system`));
      }
      assert.match(output, /\n0\n0\nshared memory\n$/, 'what is masked is empty');
    } finally {
      native.umount(join(source, 'sub'), 0);
    }
  });

  test('a privileged container has what this process has, and may write to /sys', async () => {
    const output = await run(runtime, {
      script: 'cat /proc/self/status; ls /dev; grep " /sys " /proc/mounts',
      pod: { securityContext: { privileged: true } },
      security: { privileged: true, seccompProfilePath: 'runtime/default' },
    });
    assert.equal(capabilities(output, 'CapEff').toString(2).replaceAll('0', '').length, host.capabilities.length);
    assert.match(output, /Seccomp:\s*0/);
    assert.match(output, / \/sys sysfs rw/);
    for (const device of readdirSync('/dev').filter((name) => /^(null|kmsg|mem|loop-control)$/.test(name))) {
      assert.match(output, new RegExp(`\\n${device}\\n`));
    }
  });

  test('Debian’s seccomp profile is loaded, and a profile of the host blocks what it names', async () => {
    const status = await run(runtime, {
      script: 'cat /proc/self/status',
      security: { seccomp: { profileType: cri.SecurityProfile_ProfileType.RuntimeDefault } },
    });
    assert.match(status, /Seccomp:\s*2/);
    const localhostRef = join(folder, `profile-${runtime}.json`);
    const blocked = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errno: 'EDQUOT' };
    writeFileSync(localhostRef, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [blocked] }));
    const profileType = cri.SecurityProfile_ProfileType.Localhost;
    const output = await run(runtime, {
      script: 'mkdir /tmp/x; touch /tmp/y && echo touched',
      security: { seccomp: { profileType, localhostRef } },
    });
    assert.match(output, /mkdir: .*quota exceeded\ntouched/i);
  });

  test('the pod’s kernel parameters are set in its namespaces alone', async () => {
    const output = await run(runtime, {
      script:
        'cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start',
      pod: { sysctls: { 'net.ipv4.ip_local_port_range': '2000 3000', 'kernel.shm_rmid_forced': '1' } },
    });
    assert.equal(output, '2000\t3000\n1\n0\n');
  });

  test('resources are limited in the pod’s cgroup, which the container sees and cannot write to', async () => {
    const version1 = host.cgroup.version === 1;
    const limits = version1 ? ['memory/memory.limit_in_bytes', 'cpu/cpu.shares'] : ['memory.max', 'cpu.weight'];
    const output = await run(runtime, {
      script: `cd /sys/fs/cgroup; cat ${limits.join(' ')}; (echo 1 >${limits[0] ?? ''}); cat /proc/self/oom_score_adj`,
      resources: {
        memoryLimitInBytes: 64 << 20,
        cpuShares: 512,
        cpuQuota: 50_000,
        cpuPeriod: 100_000,
        oomScoreAdj: 321,
      },
    });
    assert.match(output, /^67108864\n[0-9]+\n.*Read-only file system\n321\n$/);
  });

  test('a device of the host is there under its name in the container, and may be used as asked for', async () => {
    // Opened to be written to, this one asks for no more than the cgroup's permission.
    const hostPath = join(folder, `kmsg-${runtime}`);
    assert.equal(spawnSync('mknod', ['-m', '666', hostPath, 'c', '1', '11']).status, 0);
    const attempt = async (permissions: string) =>
      await run(runtime, {
        script: 'ls -l /dev/mine; (: >/dev/mine) && echo opened',
        container: { devices: [{ hostPath, containerPath: '/dev/mine', permissions }] },
      });
    assert.match(await attempt('w'), /^crw-rw-rw- .* 1, +11 .*\/dev\/mine\nopened\n$/);
    assert.match(await attempt('r'), /^crw-rw-rw- .*\n.*mine: Operation not permitted\n$/);
  });
});

test('mounts travel between host and container as asked for', async () => {
  const inner = join(shared, 'inner');
  mkdirSync(inner, { recursive: true });
  const mounts = [
    { containerPath: '/mnt', hostPath: shared, propagation: cri.MountPropagation.PROPAGATION_BIDIRECTIONAL },
  ];
  await run('runc', {
    script: 'mount -t tmpfs from-the-container /mnt/inner',
    container: { mounts },
    pod: { securityContext: { privileged: true } },
    security: { privileged: true },
  });
  const arrived = readMountInfo().filter(({ path }) => path === inner);
  assert.deepEqual(
    arrived.map(({ source }) => source),
    ['from-the-container'],
  );
  native.umount(inner, 0);
  const slave = [{ ...mounts[0], propagation: cri.MountPropagation.PROPAGATION_HOST_TO_CONTAINER }];
  const output = await run('runc', { script: 'grep " /mnt " /proc/self/mountinfo', container: { mounts: slave } });
  assert.match(output, /master:[0-9]+/);
});
