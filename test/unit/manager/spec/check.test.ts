import { test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import { checkSelinux } from '../../../../src/manager/spec/check.ts';
import { checkContainerConfig, checkSandboxConfig } from '../../../../src/manager/spec/index.ts';
import type { cri, Init } from '../../../../src/wire/index.ts';
import { containerConfig, podConfig, refuses, securityContext } from './configs.ts';

const pod = (init: Init<cri.PodSandboxConfig>) => () => checkSandboxConfig(podConfig(init));
const container =
  (init: Init<cri.ContainerConfig>, ofPod: Init<cri.PodSandboxConfig> = {}) =>
  () => {
    checkContainerConfig(containerConfig(init), podConfig(ofPod));
  };
const security = (init: Init<cri.LinuxContainerSecurityContext>) => container({ linux: { securityContext: init } });

test('a plain pod and a plain container are accepted', () => {
  pod({})();
  container({})();
});

test('every field of a pod that cannot be is refused by its path', () => {
  const cases: [Init<cri.PodSandboxConfig>, RegExp][] = [
    [{ metadata: undefined }, /^config\.metadata: is missing/],
    [{ metadata: { name: '' } }, /^config\.metadata\.name: /],
    [{ logDirectory: 'logs' }, /^config\.logDirectory: /],
    [{ hostname: 'a b' }, /^config\.hostname: /],
    [{ dnsConfig: { servers: ['a b'] } }, /^config\.dnsConfig\.servers\[0\]: /],
    [{ linux: { cgroupParent: '/../x' } }, /^config\.linux\.cgroupParent: /],
    [{ linux: { sysctls: { 'vm.swappiness': '1' } } }, /^config\.linux\.sysctls\["vm\.swappiness"\]: /],
    [{ linux: { resources: { cpuShares: -1 } } }, /^config\.linux\.resources\.cpuShares: /],
    [{ linux: { overhead: { cpuShares: -1 } } }, /^config\.linux\.overhead\.cpuShares: /],
    [
      { linux: { securityContext: { namespaceOptions: { pid: 3 } } } },
      /^config\.linux\.securityContext\.namespaceOptions\.pid: TARGET/,
    ],
  ];
  for (const [init, message] of cases) refuses(pod(init), message);
});

test('every field of a container that cannot be is refused by its path', () => {
  const cases: [Init<cri.ContainerConfig>, RegExp][] = [
    [{ metadata: undefined }, /^config\.metadata: is missing/],
    [{ metadata: { name: '' } }, /^config\.metadata\.name: /],
    [{ command: [''] }, /^config\.command\[0\]: is empty/],
    [{ command: ['a', 'b\0'] }, /^config\.command\[1\]: contains a NUL/],
    [{ args: ['\0'] }, /^config\.args\[0\]: /],
    [{ workingDir: 'srv' }, /^config\.workingDir: /],
    [{ logPath: '/var/log/x' }, /^config\.logPath: /],
    [{ logPath: 'a/../../x' }, /^config\.logPath: .*leads out/],
    [{ envs: [{ key: '=' }] }, /^config\.envs\[0\]\.key: /],
    [{ mounts: [{ containerPath: 'x' }] }, /^config\.mounts\[0\]\.containerPath: /],
    [{ devices: [{ hostPath: 'x' }] }, /^config\.devices\[0\]\.hostPath: /],
    [{ linux: { resources: { cpuPeriod: 1 } } }, /^config\.linux\.resources\.cpuPeriod: /],
  ];
  for (const [init, message] of cases) refuses(container(init), message);
  container({ logPath: 'main/0.log', workingDir: '/srv' })();
});

test('every field of a security context that cannot be is refused by its path', () => {
  const cases: [Init<cri.LinuxContainerSecurityContext>, RegExp][] = [
    [{ privileged: true }, /privileged: .*needs a pod whose config is privileged/],
    [{ namespaceOptions: { pid: 2 } }, /namespaceOptions\.pid: /],
    [{ runAsUser: { value: -1 } }, /runAsUser: /],
    [{ capabilities: { addCapabilities: ['X'] } }, /capabilities\.addCapabilities: /],
    [{ seccompProfilePath: 'x' }, /seccomp \(deprecated path\): /],
    [{ apparmorProfile: 'x' }, /apparmor \(deprecated path\): /],
    [{ maskedPaths: ['proc'] }, /maskedPaths\[0\]: /],
    [{ readonlyPaths: ['/a', '/\0'] }, /readonlyPaths\[1\]: /],
  ];
  for (const [init, message] of cases) {
    refuses(security(init), new RegExp(`^config\\.linux\\.securityContext\\.${message.source}`));
  }
  container(
    { linux: { securityContext: { privileged: true } } },
    { linux: { securityContext: { privileged: true } } },
  )();
});

test('labels of SELinux mean nothing without SELinux, and are refused with it', () => {
  const labelled = securityContext({ selinuxOptions: { level: 's0:c1,c2' } });
  checkSelinux(labelled, { selinux: false });
  checkSelinux(securityContext({ selinuxOptions: {} }), { selinux: true });
  refuses(() => checkSelinux(labelled, { selinux: true }), /selinuxOptions: /, Code.Unimplemented);
});
