import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCapabilities, processCapabilities } from '../../../../src/manager/spec/capabilities.ts';
import { capabilityNames } from '../../../../src/manager/spec/capability-names.ts';
import { givableCapabilities } from '../../../../src/manager/spec/host.ts';
import type { cri, Init } from '../../../../src/wire/index.ts';
import { refuses, securityContext } from './configs.ts';

function given(capabilities: Init<cri.Capability>, privileged = false, givable = capabilityNames) {
  return processCapabilities(securityContext({ capabilities, privileged }), givable);
}

const bounding = (capabilities: Init<cri.Capability>, privileged = false) =>
  given(capabilities, privileged).capabilities.bounding;

test('a container that asks for nothing has the usual fourteen, none of them inheritable or ambient', () => {
  const { capabilities } = given({});
  assert.equal(capabilities.bounding.length, 14);
  assert.ok(capabilities.bounding.includes('CAP_NET_RAW') && !capabilities.bounding.includes('CAP_SYS_ADMIN'));
  assert.deepEqual([capabilities.effective, capabilities.permitted], [capabilities.bounding, capabilities.bounding]);
  assert.deepEqual([capabilities.inheritable, capabilities.ambient], [[], []]);
});

test('single names are added and dropped, with or without their prefix, in any case', () => {
  const list = bounding({ addCapabilities: ['net_admin', 'CAP_SYS_TIME'], dropCapabilities: ['KILL', 'cap_chown'] });
  assert.ok(list.includes('CAP_NET_ADMIN') && list.includes('CAP_SYS_TIME'));
  assert.ok(!list.includes('CAP_KILL') && !list.includes('CAP_CHOWN'));
});

test('ALL comes first, so that single names still count', () => {
  assert.deepEqual(bounding({ dropCapabilities: ['ALL'] }), []);
  assert.deepEqual(bounding({ dropCapabilities: ['all'], addCapabilities: ['NET_ADMIN'] }), ['CAP_NET_ADMIN']);
  assert.deepEqual(bounding({ addCapabilities: ['ALL'] }), capabilityNames);
  assert.equal(bounding({ addCapabilities: ['ALL'], dropCapabilities: ['CHOWN'] }).length, capabilityNames.length - 1);
});

test('a privileged container has all that this process may give, and no more', () => {
  assert.deepEqual(bounding({}, true), capabilityNames);
  const { capabilities, missing } = given({}, true, ['CAP_CHOWN', 'CAP_KILL']);
  assert.deepEqual([capabilities.bounding, missing], [['CAP_CHOWN', 'CAP_KILL'], []]);
});

test('what was asked for by name and cannot be given is told', () => {
  const { capabilities, missing } = given({ addCapabilities: ['SYS_TIME', 'KILL'] }, false, ['CAP_KILL']);
  assert.deepEqual([capabilities.bounding, missing], [['CAP_KILL'], ['CAP_SYS_TIME']]);
});

test('ambient capabilities are in all five sets', () => {
  const { capabilities } = given({ dropCapabilities: ['ALL'], addAmbientCapabilities: ['NET_BIND_SERVICE'] });
  const only = ['CAP_NET_BIND_SERVICE'];
  assert.deepEqual(capabilities, {
    bounding: [],
    effective: [],
    permitted: [],
    inheritable: [],
    ambient: [],
    ...Object.fromEntries(Object.keys(capabilities).map((set) => [set, only])),
  });
  assert.deepEqual(given({ dropCapabilities: ['KILL'], addAmbientCapabilities: ['KILL'] }).capabilities.ambient, []);
});

test('names that the kernel does not know are refused', () => {
  const check = (capabilities: Init<cri.Capability>) => () =>
    checkCapabilities(securityContext({ capabilities })?.capabilities, 'f');
  refuses(check({ addCapabilities: ['KILL', 'FLY'] }), /f\.addCapabilities: "FLY" is no capability/);
  refuses(check({ dropCapabilities: ['CAP_'] }), /f\.dropCapabilities/);
  refuses(check({ addAmbientCapabilities: ['x\ny'] }), /f\.addAmbientCapabilities/);
  check({ addCapabilities: ['ALL'], dropCapabilities: ['cap_kill'] })();
});

test('what this process may give is both permitted and in its bounding set', () => {
  const status = 'Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000023\nCapBnd:\t0000000000000021\n';
  assert.deepEqual(givableCapabilities(status), ['CAP_CHOWN', 'CAP_KILL']);
  assert.equal(givableCapabilities('CapPrm:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n').length, 41);
});
