import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { buildSpec, type HostFacts, ImageAccounts } from '../../../../src/manager/spec/index.ts';
import type { ImageDefaults, SpecInput } from '../../../../src/manager/spec/input.ts';
import type { cri, Init } from '../../../../src/wire/index.ts';
import { containerConfig, hostFacts, imageConfig, podConfig, rejects } from './configs.ts';

interface Given {
  pod?: Init<cri.PodSandboxConfig>;
  container?: Init<cri.ContainerConfig>;
  image?: Partial<ImageDefaults>;
  host?: Partial<HostFacts>;
  hostname?: string;
}

function input({ pod = {}, container = {}, image = {}, host = {}, hostname = 'web-0' }: Given): SpecInput {
  return {
    sandbox: {
      id: 'pod-id',
      config: podConfig(pod),
      netnsPath: '/run/berth/netns/pod-id',
      pid: 42,
      hostsPath: '/run/pod/hosts',
      hostnamePath: '/run/pod/hostname',
      resolvConfPath: '/run/pod/resolv.conf',
      hostname,
    },
    container: { id: 'container-id', config: containerConfig(container), bundle: '/bundle', volumes: [] },
    image: { record: { id: 'sha256:image', config: imageConfig(image) }, layers: [] },
    runtimeHandler: 'runc',
    host: hostFacts(host),
    accounts: new ImageAccounts({ openInLayers: (_, paths) => paths.map(() => -1) }),
  };
}

interface Built {
  process: Record<string, unknown> & { env: string[] };
  linux: Record<string, unknown>;
  root: unknown;
  annotations: Record<string, string>;
}

async function built(given: Given): Promise<{ spec: Built; user: unknown; warnings: readonly string[] }> {
  const { spec, user, warnings } = await buildSpec(input(given));
  assert.equal(spec.ociVersion, '1.0.2');
  return { spec: JSON.parse(JSON.stringify(spec)) as Built, user, warnings };
}

test('request, image and pod come together in one configuration', async () => {
  const { spec, user, warnings } = await built({
    pod: { linux: { cgroupParent: '/pods/p', sysctls: { 'kernel.sem': '1 2 3 4' } } },
    container: {
      command: [],
      args: ['serve'],
      tty: true,
      linux: {
        resources: { memoryLimitInBytes: 1 << 20, oomScoreAdj: 500 },
        securityContext: {
          runAsUser: { value: 7 },
          noNewPrivs: true,
          readonlyRootfs: true,
          maskedPaths: ['/proc/kcore'],
          readonlyPaths: ['/proc/sys'],
        },
      },
    },
    image: { entrypoint: ['/app'], workingDir: '/srv', env: ['A=1'] },
  });
  assert.deepEqual(spec.root, { path: 'rootfs', readonly: true });
  const { args, cwd, terminal, noNewPrivileges, oomScoreAdj } = spec.process;
  assert.deepEqual(
    { args, cwd, terminal, noNewPrivileges, oomScoreAdj },
    {
      args: ['/app', 'serve'],
      cwd: '/srv',
      terminal: true,
      noNewPrivileges: true,
      oomScoreAdj: 500,
    },
  );
  assert.deepEqual(spec.process['user'], { uid: 7, gid: 0, additionalGids: [0] });
  assert.deepEqual(user, { uid: 7, gid: 0, additionalGids: [0] });
  assert.ok(spec.process.env.includes('HOSTNAME=web-0') && spec.process.env.includes('A=1'));
  assert.equal(spec.process['rlimits'], undefined, 'limits are inherited');
  const { cgroupsPath, sysctl, maskedPaths, readonlyPaths, resources } = spec.linux;
  assert.equal(cgroupsPath, '/pods/p/container-id');
  assert.equal((sysctl as Record<string, string>)['kernel.sem'], '1 2 3 4');
  assert.deepEqual([maskedPaths, readonlyPaths], [['/proc/kcore'], ['/proc/sys']]);
  assert.deepEqual(resources, {
    memory: { limit: 1 << 20, swap: 1 << 20 },
    devices: [{ allow: false, access: 'rwm' }],
  });
  assert.deepEqual(warnings, []);
});

test('a pod without a name of its own has the host’s', async () => {
  assert.ok((await built({ hostname: '' })).spec.process.env.includes('HOSTNAME=node-1'));
});

test('annotations say whose container it is, and nothing that others have written', async () => {
  const { spec, warnings } = await built({
    pod: { annotations: { 'run.oci.hooks': 'x' } },
    container: {
      image: { image: 'sha256:abc', userSpecifiedImage: 'busybox:1' },
      annotations: {
        'org.criu.config': '/x',
        'io.kubernetes.cri.sandbox-id': 'another',
        'io.kubernetes.cri.rdt-class': 'gold',
      },
    },
  });
  assert.deepEqual(spec.annotations, {
    'io.kubernetes.cri.container-type': 'container',
    'io.kubernetes.cri.sandbox-id': 'pod-id',
    'io.kubernetes.cri.sandbox-name': 'pod',
    'io.kubernetes.cri.sandbox-namespace': 'default',
    'io.kubernetes.cri.sandbox-uid': '5f2e',
    'io.kubernetes.cri.container-name': 'main',
    'io.kubernetes.cri.image-name': 'busybox:1',
  });
  assert.match(warnings.join(), /"io\.kubernetes\.cri\.rdt-class" is ignored/);
});

test('a privileged container has nothing hidden, no filter, and all devices', async () => {
  const { spec } = await built({
    pod: { linux: { securityContext: { privileged: true } } },
    container: {
      linux: {
        securityContext: { privileged: true, maskedPaths: ['/proc/kcore'], seccompProfilePath: 'runtime/default' },
      },
    },
  });
  const { maskedPaths, seccomp, resources } = spec.linux;
  assert.deepEqual([maskedPaths, seccomp], [[], undefined]);
  assert.deepEqual((resources as { devices: unknown[] }).devices.at(-1), { allow: true, access: 'rwm' });
});

test('the filter of system calls looks at the container’s own capabilities', async () => {
  const allowed = async (addCapabilities: string[]) => {
    const securityContext = { capabilities: { addCapabilities }, seccompProfilePath: 'runtime/default' };
    const { linux } = (await built({ container: { linux: { securityContext } } })).spec;
    const { syscalls } = linux['seccomp'] as { syscalls: { names: string[]; action: string }[] };
    return syscalls.some(({ names, action }) => action === 'SCMP_ACT_ALLOW' && names.includes('settimeofday'));
  };
  assert.equal(await allowed(['SYS_TIME']), true);
  assert.equal(await allowed([]), false);
});

test('what cannot be given is told', async () => {
  const { spec, warnings } = await built({
    container: {
      linux: { resources: { oomScoreAdj: -500 }, securityContext: { capabilities: { addCapabilities: ['SYSLOG'] } } },
    },
    host: { oomScoreAdjMinimum: 0 },
  });
  assert.equal(spec.process['oomScoreAdj'], 0);
  assert.deepEqual(warnings, [
    'CAP_SYSLOG is not given: berthd lacks it',
    'oom_score_adj is 0, the lowest that berthd may give, not -500',
  ]);
});

test('mounts that share their mounts make the container’s root share them', async () => {
  const mounts = [{ containerPath: '/m', hostPath: '/proc', propagation: 0 as const }];
  assert.equal((await built({ container: { mounts } })).spec.linux['rootfsPropagation'], undefined);
});

test('a request that should have been refused before is refused here too', async () => {
  const securityContext = { privileged: true };
  await rejects(buildSpec(input({ container: { linux: { securityContext } } })), /privileged/, Code.InvalidArgument);
});
