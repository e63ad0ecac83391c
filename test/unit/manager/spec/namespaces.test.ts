import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../../../../src/grpc/index.ts';
import {
  checkContainerNamespaces,
  checkSandboxNamespaces,
  namespaces,
} from '../../../../src/manager/spec/namespaces.ts';
import { cri, type Init } from '../../../../src/wire/index.ts';
import { containerConfig, hostFacts, podConfig, refuses } from './configs.ts';

const { POD, CONTAINER, NODE, TARGET } = cri.NamespaceMode;
type Options = Init<cri.NamespaceOption>;

function listed(
  ofPod: Options,
  ofContainer: Options = {},
  given: { targetPid?: number; privileged?: boolean; version?: 1 | 2 } = {},
): Record<string, string> {
  const { targetPid, privileged = false, version = 1 } = given;
  const sandbox = {
    config: podConfig({ linux: { securityContext: { namespaceOptions: ofPod } } }),
    netnsPath: ofPod.network === NODE ? '' : '/run/berth/netns/s',
    pid: 42,
  };
  const container = {
    config: containerConfig({ linux: { securityContext: { namespaceOptions: ofContainer, privileged } } }),
    ...(targetPid !== undefined && { targetPid }),
  };
  const host = hostFacts({ cgroup: { version, driver: 'cgroupfs', swap: true, hugetlb: true } });
  return Object.fromEntries(namespaces(sandbox, container, host).map(({ type, path = 'new' }) => [type, path]));
}

const network = '/run/berth/netns/s';
const [ipc, uts, pid] = ['/proc/42/ns/ipc', '/proc/42/ns/uts', '/proc/42/ns/pid'];

test('a container shares its pod’s namespaces and has its own mounts', () => {
  assert.deepEqual(listed({}), { mount: 'new', network, uts, ipc, pid });
});

test('each mode of each namespace', () => {
  assert.deepEqual(listed({ network: NODE }), { mount: 'new', ipc, pid });
  assert.deepEqual(listed({ ipc: NODE }), { mount: 'new', network, uts, pid });
  assert.deepEqual(listed({ pid: NODE }), { mount: 'new', network, uts, ipc });
  assert.deepEqual(listed({ pid: NODE }, { pid: NODE }), { mount: 'new', network, uts, ipc });
  assert.equal(listed({ pid: NODE }, { pid: CONTAINER })['pid'], 'new');
  assert.equal(listed({}, { pid: CONTAINER })['pid'], 'new');
  assert.equal(listed({}, { pid: TARGET, targetId: 'x' }, { targetPid: 7 })['pid'], '/proc/7/ns/pid');
  refuses(() => listed({}, { pid: TARGET, targetId: 'x' }), /targetId: there is no such container/);
});

test('cgroup namespaces are for cgroup v2, and not for privileged containers', () => {
  assert.equal(listed({}, {}, { version: 2 })['cgroup'], 'new');
  assert.equal(listed({}, {}, { version: 2, privileged: true })['cgroup'], undefined);
});

test('modes that make no sense are refused', () => {
  const pod = (options: Options) => () => {
    checkSandboxNamespaces(
      podConfig({ linux: { securityContext: { namespaceOptions: options } } }).linux?.securityContext?.namespaceOptions,
    );
  };
  refuses(pod({ network: CONTAINER }), /network: CONTAINER is not possible; choose of POD, NODE/);
  refuses(pod({ ipc: TARGET }), /ipc: TARGET/);
  refuses(pod({ pid: TARGET }), /pid: TARGET/);
  refuses(pod({ pid: 9 as 0 }), /pid: 9/);
  pod({ network: NODE, ipc: NODE, pid: NODE })();
});

const container =
  (options: Options, ofPod: Options = {}) =>
  () => {
    const wire = cri.NamespaceOption;
    checkContainerNamespaces(wire.decode(wire.encode(options)), wire.decode(wire.encode(ofPod)));
  };

test('a container gets no nearer to the node than its pod', () => {
  for (const kind of ['network', 'ipc', 'pid'] as const) {
    refuses(container({ [kind]: NODE }), new RegExp(`${kind}: asks for the node's namespace`));
    container({ [kind]: NODE }, { [kind]: NODE })();
    container({ [kind]: POD }, { [kind]: NODE })();
  }
  refuses(container({ pid: TARGET }), /targetId: is empty/);
});

test('user namespaces other than the node’s are refused as not implemented', () => {
  container({ usernsOptions: { mode: NODE } })();
  refuses(container({ usernsOptions: { mode: POD } }), /usernsOptions: user namespaces are not/, Code.Unimplemented);
  refuses(container({ usernsOptions: { mode: NODE, uids: [{ length: 1 }] } }), /maps nothing/);
});
