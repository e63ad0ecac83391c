import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { sandboxFiles } from '../../../../src/manager/spec/index.ts';
import { checkSandboxFiles } from '../../../../src/manager/spec/sandbox-files.ts';
import { cri } from '../../../../src/wire/index.ts';
import { podConfig, refuses } from './configs.ts';

test('resolv.conf says what the pod’s DNS configuration says', () => {
  const dnsConfig = { servers: ['10.0.0.10', 'fd00::a'], searches: ['a.local', 'b.local'], options: ['ndots:5'] };
  assert.equal(
    sandboxFiles(podConfig({ dnsConfig }), 'web').resolvConf,
    'search a.local b.local\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5\n',
  );
  assert.equal(sandboxFiles(podConfig({ dnsConfig: {} }), 'web').resolvConf, '');
});

test('a pod without a DNS configuration has the host’s', () => {
  assert.equal(sandboxFiles(podConfig(), 'web').resolvConf, readFileSync('/etc/resolv.conf', 'utf8'));
});

test('a pod’s name is in its hostname file, and beside its addresses in its hosts file', () => {
  const { hostname, hosts } = sandboxFiles(podConfig(), 'web', ['10.1.2.3', 'fd00::3']);
  assert.equal(hostname, 'web\n');
  assert.match(hosts, /^127\.0\.0\.1\tlocalhost\n::1\t/);
  assert.match(hosts, /\n10\.1\.2\.3\tweb\nfd00::3\tweb\n$/);
});

test('a pod on the host’s network has the host’s hosts file', () => {
  const config = podConfig({ linux: { securityContext: { namespaceOptions: { network: cri.NamespaceMode.NODE } } } });
  assert.equal(sandboxFiles(config, 'node-1').hosts, readFileSync('/etc/hosts', 'utf8'));
});

test('words that would be lines of their own are refused', () => {
  const dns = (given: object) => () => checkSandboxFiles(podConfig({ dnsConfig: given }));
  refuses(dns({ servers: ['10.0.0.1\nnameserver 6.6.6.6'] }), /dnsConfig\.servers\[0\]: .*not one word/);
  refuses(dns({ searches: ['a', 'b c'] }), /dnsConfig\.searches\[1\]/);
  refuses(dns({ options: [''] }), /dnsConfig\.options\[0\]/);
  for (const hostname of ['a b', 'a\n', '-a', 'a'.repeat(65), 'a/b']) {
    refuses(() => checkSandboxFiles(podConfig({ hostname })), /config\.hostname/);
  }
  checkSandboxFiles(podConfig({ hostname: 'web-0.example' }));
});
