import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  capabilitiesOf,
  cidrFamily,
  parseConflist,
  parseSingleConf,
} from '../../../../src/manager/network/network-conf.ts';

const bridge = { type: 'bridge', bridge: 'cni0' };

function conflist(fields: object): string {
  return JSON.stringify({ cniVersion: '1.0.0', name: 'net', plugins: [bridge], ...fields });
}

test('a list is read with its plugins in order, and everything they say', () => {
  const portmap = { type: 'portmap', capabilities: { portMappings: true, other: false }, snat: true };
  const network = parseConflist(conflist({ plugins: [bridge, portmap] }), '/etc/cni/net.d/10.conflist');
  assert.deepEqual(network, {
    name: 'net',
    cniVersion: '1.0.0',
    file: '/etc/cni/net.d/10.conflist',
    disableCheck: false,
    disableGc: false,
    takesPluginFiles: true,
    plugins: [bridge, portmap],
  });
  assert.deepEqual(network.plugins.map(capabilitiesOf), [[], ['portMappings']]);
});

test('a single configuration is a network of one plugin', () => {
  const network = parseSingleConf(JSON.stringify({ cniVersion: '0.4.0', name: 'one', ...bridge }), 'f');
  assert.equal(network.name, 'one');
  assert.equal(network.plugins.length, 1);
});

test('flags may be written as text', () => {
  const network = parseConflist(conflist({ disableCheck: 'TRUE', disableGC: true }), 'f');
  assert.deepEqual([network.disableCheck, network.disableGc], [true, true]);
});

test('of several versions the newest is taken that is spoken', () => {
  const version = (fields: object) => parseConflist(conflist(fields), 'f').cniVersion;
  assert.equal(version({ cniVersion: '0.3.1', cniVersions: ['0.4.0', '1.0.0'] }), '1.0.0');
  assert.equal(version({ cniVersion: '1.1.0', cniVersions: ['0.4.0'] }), '1.1.0');
  assert.equal(version({ cniVersion: '1.0.0', cniVersions: ['99.0.0'] }), '1.0.0');
  assert.equal(version({ cniVersion: undefined, cniVersions: ['1.0.0', '0.4.0'] }), '1.0.0');
  assert.equal(version({ cniVersion: undefined }), '0.1.0');
  assert.equal(version({ cniVersion: '' }), '0.1.0');
});

for (const [what, text, message] of [
  ['no JSON', '{', /no JSON/],
  ['a list', '[]', /no JSON object/],
  ['no name', conflist({ name: undefined }), /no "name"/],
  ['a name with a path', conflist({ name: '../up' }), /must match/],
  ['a version to come', conflist({ cniVersion: '2.0.0' }), /2\.0\.0 is not one that is spoken/],
  ['a version that is none', conflist({ cniVersion: 'new' }), /"new" is no version/],
  ['no plugins', conflist({ plugins: [] }), /no plugins/],
  ['plugins that are no list', conflist({ plugins: {} }), /must be a list/],
  ['a plugin without a type', conflist({ plugins: [{}] }), /plugin 1 has no "type"/],
  ['a type with a path', conflist({ plugins: [{ type: '../../bin/sh' }] }), /no plain file name/],
  ['a flag that is none', conflist({ disableCheck: 7 }), /must be true or false/],
] as const) {
  test(`${what} is refused, with the reason`, () => {
    assert.throws(() => parseConflist(text, 'f'), message);
  });
}

test('a list in a file for a single plugin is refused, with what to do', () => {
  assert.throws(() => parseSingleConf(conflist({}), 'f'), /name it \.conflist/);
});

test('networks are told from what looks like them', () => {
  assert.deepEqual(['10.0.0.0/8', 'fd00::/64', '::ffff:10.0.0.1/96'].map(cidrFamily), [4, 6, 6]);
  const wrong = ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', '10.0.0/8', 'fe80::1%eth0/64', '/8', '10.0.0.0/8/8', ''];
  assert.deepEqual(wrong.map(cidrFamily), [0, 0, 0, 0, 0, 0, 0, 0]);
});
