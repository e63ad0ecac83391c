import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressesOf, parseResult, resultForVersion } from '../../../../src/manager/network/result.ts';

const dualStack = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'cni0' }, { name: 'veth1' }, { name: 'eth0', sandbox: '/run/netns/x' }],
  ips: [
    { interface: 0, address: '10.0.0.1/24' },
    { interface: 2, address: 'fd00::5/64', gateway: 'fd00::1' },
    { interface: 2, address: '10.0.0.5/24', gateway: '10.0.0.1' },
  ],
  routes: [{ dst: '0.0.0.0/0', gw: '10.0.0.1' }],
  dns: { nameservers: ['10.0.0.1'], search: [], options: [] },
};

const parse = (value: unknown) => parseResult(JSON.stringify(value));

test("the pod's addresses are those of its interface, in order", () => {
  assert.deepEqual(addressesOf(parse(dualStack), 'eth0'), ['fd00::5', '10.0.0.5']);
});

test('addresses that name no interface are the pod’s', () => {
  assert.deepEqual(addressesOf(parse({ ips: [{ address: '10.0.0.9/8' }] }), 'eth0'), ['10.0.0.9']);
  assert.deepEqual(addressesOf(parse({ ips: [{ interface: 0, address: '10.0.0.9/8' }] }), 'eth0'), ['10.0.0.9']);
});

test('results of 0.2.0 have addresses too', () => {
  const old = parse({ cniVersion: '0.2.0', ip4: { ip: '10.0.0.9/8' }, ip6: { ip: 'fd00::9/64' } });
  assert.deepEqual(addressesOf(old, 'eth0'), ['10.0.0.9', 'fd00::9']);
});

test('a result of another version is handed on in the one that is expected', () => {
  const older = resultForVersion(parse(dualStack), '0.4.0') as { cniVersion: string; ips: { version: string }[] };
  assert.equal(older.cniVersion, '0.4.0');
  assert.deepEqual(
    older.ips.map(({ version }) => version),
    ['4', '6', '4'],
  );
  assert.deepEqual(resultForVersion(older, '1.0.0'), dualStack);
  assert.equal(resultForVersion(older, '0.4.0'), older);
});

for (const [what, value] of [
  ['text', 'hello'],
  ['a list', []],
  ['an address without a length', { ips: [{ address: '10.0.0.1' }] }],
  ['an address that is none', { ips: [{ address: '300.0.0.1/24' }] }],
  ['a length that is too great', { ips: [{ address: '10.0.0.1/40' }] }],
  ['an address with a zone', { ips: [{ address: 'fe80::1%eth0/64' }] }],
  ['a gateway that is none', { ips: [{ address: '10.0.0.1/24', gateway: 'x; reboot' }] }],
  ['an interface that is not there', { interfaces: [{ name: 'a' }], ips: [{ interface: 1, address: '10.0.0.1/24' }] }],
  ['a negative interface', { interfaces: [{ name: 'a' }], ips: [{ interface: -1, address: '10.0.0.1/24' }] }],
  ['an interface with a path', { interfaces: [{ name: '../x' }] }],
  ['a line break in a name', { interfaces: [{ name: 'a\nb' }] }],
  ['a route to nowhere', { routes: [{ dst: 'default' }] }],
  ['a thousand addresses', { ips: Array.from({ length: 1000 }, () => ({ address: '10.0.0.1/24' })) }],
  ['ips that are no list', { ips: { 0: 'x' } }],
  ['name servers that are no text', { dns: { nameservers: [7] } }],
] as const) {
  test(`${what} is no result`, () => {
    assert.throws(() => parse(value), { name: 'ResultError' });
  });
}

test('what is no JSON is no result', () => assert.throws(() => parseResult('ok!'), { name: 'ResultError' }));
