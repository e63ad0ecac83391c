import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSysctls, sysctls } from '../../../../src/manager/spec/sysctls.ts';
import { cri, type Init } from '../../../../src/wire/index.ts';
import { podConfig, refuses } from './configs.ts';

const { NODE } = cri.NamespaceMode;

function pod(values: Record<string, string>, options: Init<cri.NamespaceOption> = {}): cri.PodSandboxConfig {
  return podConfig({ linux: { sysctls: values, securityContext: { namespaceOptions: options } } });
}

test('parameters of the pod’s own network and IPC can be set', () => {
  for (const name of [
    'net.ipv4.ip_forward',
    'net.core.somaxconn',
    'net.ipv4.conf.eth0/100.forwarding',
    'kernel.shm_rmid_forced',
    'kernel.shmmax',
    'kernel.msgmnb',
    'kernel.sem',
    'fs.mqueue.msg_max',
  ]) {
    checkSysctls(pod({ [name]: '1' }));
  }
});

test('parameters of the whole node are refused', () => {
  for (const name of ['kernel.core_pattern', 'vm.swappiness', 'fs.file-max', 'kernel.semantics', 'kernel.hostname']) {
    refuses(() => checkSysctls(pod({ [name]: '1' })), /is not one that a pod can have of its own/);
  }
  refuses(() => checkSysctls(pod({ 'net.core.somaxconn': '1' }, { network: NODE })), /node's network/);
  refuses(() => checkSysctls(pod({ 'kernel.sem': '1' }, { ipc: NODE })), /node's IPC/);
  checkSysctls(pod({ 'kernel.sem': '1' }, { network: NODE }));
});

test('names that are paths, and values of several lines, are refused', () => {
  for (const name of ['', 'net', 'net/ipv4/ip_forward', '../kernel.sem', 'net..x', 'net.a//b', '/net.x', 'net.x\n']) {
    refuses(() => checkSysctls(pod({ [name]: '1' })), /is no parameter in the form/);
  }
  refuses(() => checkSysctls(pod({ 'net.a.b': '1\n2' })), /control characters/);
});

test('any user of a pod may bind low ports and ping, unless the pod says otherwise or is on the node’s network', () => {
  assert.deepEqual(sysctls(pod({ 'net.ipv4.ping_group_range': '1 0', 'kernel.sem': '5' })), {
    'net.ipv4.ip_unprivileged_port_start': '0',
    'net.ipv4.ping_group_range': '1 0',
    'kernel.sem': '5',
  });
  assert.deepEqual(sysctls(pod({ 'kernel.sem': '5' }, { network: NODE })), { 'kernel.sem': '5' });
});
