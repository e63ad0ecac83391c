import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, isRpcError } from '../../../../src/grpc/index.ts';
import {
  type PodNetworkRequest,
  capabilityArguments,
  checkSandboxId,
  cniArguments,
} from '../../../../src/manager/network/request.ts';

const request: PodNetworkRequest = {
  sandboxId: 'abc',
  netnsPath: '/run/netns/abc',
  podName: 'web',
  podNamespace: 'default',
  podUid: 'u-1',
  annotations: {},
  portMappings: [],
};
const invalid = (error: unknown) => isRpcError(error, Code.InvalidArgument);

test('the arguments are those that plugins know from containerd', () => {
  assert.equal(
    cniArguments(request),
    'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u-1',
  );
});

test('a name that would add an argument is refused', () => {
  for (const podName of ['web;IP=10.0.0.1', 'a\nb', 'a\0', 'x'.repeat(2000)]) {
    assert.throws(() => cniArguments({ ...request, podName }), invalid);
  }
});

test('an id that is no file name is refused', () => {
  for (const id of ['', '..', '../x', 'a/b', '.a', '-a', 'x'.repeat(200)])
    assert.throws(() => checkSandboxId(id), invalid, id);
});

test('capabilities have their conventional names, and those without content are left out', () => {
  assert.deepEqual(capabilityArguments(request), { 'io.kubernetes.cri.pod-annotations': {} });
  const annotations = { 'kubernetes.io/egress-bandwidth': '1M' };
  const full = capabilityArguments({
    ...request,
    annotations,
    portMappings: [
      { protocol: 'udp', containerPort: 53, hostPort: 5353, hostIp: '' },
      { protocol: 'tcp', containerPort: 80, hostPort: 0, hostIp: '' },
    ],
    dns: { servers: ['10.0.0.10'], searches: ['svc'], options: ['ndots:5'] },
    cgroupParent: '/kubepods/pod1',
    capabilities: { mac: '02:00:00:00:00:01' },
  });
  assert.deepEqual(full, {
    'io.kubernetes.cri.pod-annotations': annotations,
    mac: '02:00:00:00:00:01',
    portMappings: [{ hostPort: 5353, containerPort: 53, protocol: 'udp', hostIP: '' }],
    bandwidth: { egressRate: 1_000_000, egressBurst: 4_294_967_295 },
    dns: { servers: ['10.0.0.10'], searches: ['svc'], options: ['ndots:5'] },
    cgroupPath: '/kubepods/pod1',
  });
});

test('a port or host address that is none is refused', () => {
  for (const mapping of [
    { containerPort: 80, hostPort: 70_000, hostIp: '' },
    { containerPort: 0, hostPort: 80, hostIp: '' },
    { containerPort: 80, hostPort: 80, hostIp: '127.0.0.1 -j ACCEPT' },
  ]) {
    const portMappings = [{ protocol: 'tcp', ...mapping } as const];
    assert.throws(() => capabilityArguments({ ...request, portMappings }), invalid);
  }
});
