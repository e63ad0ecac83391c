import assert from 'node:assert/strict';
import { Code, RpcError } from '../../../../src/grpc/index.ts';
import type { HostFacts } from '../../../../src/manager/spec/index.ts';
import type { ImageDefaults } from '../../../../src/manager/spec/input.ts';
import { cri, type Init } from '../../../../src/wire/index.ts';

/** A container's configuration as it comes over the wire: what is not given has its default. */
export function containerConfig(init: Init<cri.ContainerConfig> = {}): cri.ContainerConfig {
  const defaults = { metadata: { name: 'main' }, image: { image: 'busybox:latest' }, command: ['/bin/true'] };
  return cri.ContainerConfig.decode(cri.ContainerConfig.encode({ ...defaults, ...init }));
}

export function podConfig(init: Init<cri.PodSandboxConfig> = {}): cri.PodSandboxConfig {
  const metadata = { name: 'pod', namespace: 'default', uid: '5f2e' };
  return cri.PodSandboxConfig.decode(cri.PodSandboxConfig.encode({ metadata, ...init }));
}

export function securityContext(
  init: Init<cri.LinuxContainerSecurityContext>,
): cri.LinuxContainerSecurityContext | undefined {
  return containerConfig({ linux: { securityContext: init } }).linux?.securityContext;
}

export function containerResources(init: Init<cri.LinuxContainerResources>): cri.LinuxContainerResources {
  return cri.LinuxContainerResources.decode(cri.LinuxContainerResources.encode(init));
}

export function imageConfig(given: Partial<ImageDefaults> = {}): ImageDefaults {
  const empty = { user: '', env: [], entrypoint: [], cmd: [], workingDir: '', volumes: [], stopSignal: '' };
  return { ...empty, ...given };
}

/** A host that can do everything, with cgroup v2. */
export function hostFacts(given: Partial<HostFacts> = {}): HostFacts {
  return {
    cgroup: { version: 2, driver: 'cgroupfs', swap: true, hugetlb: true },
    architecture: 'amd64',
    kernel: { major: 6, minor: 1 },
    hostname: 'node-1',
    seccomp: true,
    seccompProfile: '/usr/share/containers/seccomp.json',
    apparmor: false,
    selinux: false,
    capabilities: ['CAP_CHOWN', 'CAP_KILL', 'CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_SYS_ADMIN', 'CAP_SYS_TIME'],
    oomScoreAdjMinimum: -1000,
    recursiveReadOnly: true,
    ...given,
  };
}

/** That the work is refused with this code and a message that matches. */
export function refuses(work: () => unknown, message: RegExp, code: number = Code.InvalidArgument): void {
  assert.throws(work, (error: unknown) => {
    assert.ok(error instanceof RpcError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, code, error.message);
    return true;
  });
}

/** Likewise for work that is waited for. */
export async function rejects(work: Promise<unknown>, message: RegExp, code: number): Promise<void> {
  const outcome = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  refuses(
    () => {
      if (outcome !== undefined) throw outcome as Error;
    },
    message,
    code,
  );
}
