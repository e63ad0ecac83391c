import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NetworkHost } from '../support/network-host.ts';
import { until } from '../support/until.ts';

const portmap = { type: 'portmap', capabilities: { portMappings: true } };
const bandwidth = { type: 'bandwidth', capabilities: { bandwidth: true } };

test('a pod gets two families, a published port, a limited rate and rules, and gives them all back', async (t) => {
  const host = await NetworkHost.open(t);
  const tuning = { type: 'tuning', sysctl: { 'net.ipv4.conf.eth0.arp_filter': '1' } };
  host.configure('10-net.conflist', [host.bridge(), portmap, bandwidth, { type: 'firewall' }, tuning]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  const result = await agent.call(
    'attach',
    host.request('a', {
      portMappings: [{ protocol: 'tcp', containerPort: 80, hostPort: 8080, hostIp: '' }],
      annotations: { 'kubernetes.io/ingress-bandwidth': '10M', 'kubernetes.io/egress-bandwidth': '10M' },
    }),
  );
  assert.deepEqual(result.ips, ['10.99.0.2', 'fd99::2']);

  const inPod = (await host.run('ip', ['-o', 'addr'], 'a')).stdout;
  for (const expected of [/eth0\s+inet 10\.99\.0\.2\/24/, /eth0\s+inet6 fd99::2\/64/, /lo\s+inet 127\.0\.0\.1\/8/]) {
    assert.match(inPod, expected);
  }
  assert.match((await host.run('tc', ['qdisc'])).stdout, /qdisc tbf .*rate 10Mbit/);
  assert.equal((await host.run('sysctl', ['-n', 'net.ipv4.conf.eth0.arp_filter'], 'a')).stdout.trim(), '1');

  const server = host.spawn('busybox', ['nc', '-l', '-p', '80', '-e', 'echo', 'hello'], 'a');
  const ended = once(server, 'exit');
  await until('the published port answers', async () => {
    const { stdout } = await host.run('busybox', ['nc', '-w', '2', '10.99.0.1', '8080']);
    return stdout.includes('hello');
  });
  await ended;

  await agent.call('detach', 'a', host.netns('a'));
  await agent.call('detach', 'a', host.netns('a'));
  assert.doesNotMatch((await host.run('iptables-save', [])).stdout, /10\.99\.0\.2|8080/);
  assert.doesNotMatch((await host.run('ip', ['-o', 'link', 'show', 'type', 'ifb'])).stdout, /bwp/);
  await agent.call('unpin', host.netns('a'));
});

for (const cniVersion of ['0.3.1', '0.4.0']) {
  test(`plugins are spoken to in ${cniVersion} too`, async (t) => {
    const host = await NetworkHost.open(t);
    host.configure('10-net.conflist', [host.bridge(['10.99.0.0/24']), portmap], { cniVersion });
    const agent = await host.agent();
    await agent.call('pin', host.netns('a'));
    const portMappings = [{ protocol: 'udp', containerPort: 53, hostPort: 5353, hostIp: '' }] as const;
    const { ips } = await agent.call('attach', host.request('a', { portMappings }));
    assert.deepEqual(ips, ['10.99.0.2']);
    await agent.call('detach', 'a', host.netns('a'));
    assert.doesNotMatch((await host.run('iptables-save', [])).stdout, /5353/);
  });
}

test('a single plugin in a .conf file is a network', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-net.conf', [], { plugins: undefined, ...host.bridge(['10.98.0.0/24']) });
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  assert.deepEqual((await agent.call('attach', host.request('a'))).ips, ['10.98.0.2']);
  await agent.call('detach', 'a', host.netns('a'));
});

test('a pod is attached to as many networks as are wanted, and has the addresses of the first', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-one.conflist', [host.bridge(['10.99.0.0/24'])], { name: 'one' });
  host.configure('20-two.conflist', [host.bridge(['10.98.0.0/24'], { bridge: 'cni1' })], { name: 'two' });
  host.configure('30-three.conflist', [host.bridge()], { name: 'three' });
  const agent = await host.agent({ maxConfNum: 2 });
  assert.deepEqual(
    (await agent.call('conflists')).map(({ name, interfaceName }) => [name, interfaceName]),
    [
      ['one', 'eth0'],
      ['two', 'eth1'],
    ],
  );
  await agent.call('pin', host.netns('a'));
  const { ips, interfaces } = await agent.call('attach', host.request('a'));
  assert.deepEqual([ips, Object.keys(interfaces)], [['10.99.0.2'], ['eth0', 'eth1']]);
  assert.match((await host.run('ip', ['-o', 'addr'], 'a')).stdout, /eth1\s+inet 10\.98\.0\.2/);
  await agent.call('detach', 'a', host.netns('a'));
});

test('CHECK finds an interface that has gone', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-net.conflist', [host.bridge(), { type: 'tuning', mtu: 1400 }]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  await agent.call('attach', host.request('a'));
  await agent.call('check', 'a');
  await host.run('ip', ['link', 'del', 'eth0'], 'a');
  await assert.rejects(agent.call('check', 'a'), /CNI plugin "bridge" of network "net" .*failed \(CHECK\)/);
  await agent.call('detach', 'a', host.netns('a'));
  await assert.rejects(agent.call('check', 'a'), /not attached/);
});

test('a pod is detached when its namespace, its configuration and one of its plugins have gone', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-net.conflist', [host.bridge(), portmap]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  await agent.call('attach', host.request('a'));
  await agent.call('unpin', host.netns('a'));
  rmSync(host.conf, { recursive: true });
  rmSync(join(host.plugins, 'portmap'));
  await until('the configuration has gone', async () => !(await agent.call('status')).ready);
  await agent.call('detach', 'a', host.netns('a'));
  const lines = (await agent.call('log')).filter((line) => line.includes('a CNI plugin has gone'));
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /there is no such program/);
});

test('the networks of the node go into a template, and to plugins that ask for them', async (t) => {
  const host = await NetworkHost.open(t);
  const ranges = '{{range $i, $c := .PodCIDRRanges}}{{if $i}}, {{end}}[{"subnet": "{{$c}}"}]{{end}}';
  const plugin = JSON.stringify({
    ...host.bridge(),
    ipam: { type: 'host-local', dataDir: host.addresses, ranges: [] },
  });
  const text = `{"cniVersion": "1.0.0", "name": "net", "plugins": [${plugin.replace('"ranges":[]', `"ranges":[${ranges}]`)}]}`;
  const confTemplate = join(host.folder, 'template');
  writeFileSync(confTemplate, text);
  const agent = await host.agent({ confTemplate });
  assert.equal((await agent.call('status')).ready, false);
  await agent.call('setPodCidr', '10.97.0.0/24,fd97::/64');
  assert.equal((await agent.call('status')).ready, true);
  await agent.call('pin', host.netns('a'));
  assert.deepEqual((await agent.call('attach', host.request('a'))).ips, ['10.97.0.2', 'fd97::2']);
  await agent.call('detach', 'a', host.netns('a'));

  // Another configuration comes first now; after a restart its plugin still learns the networks.
  rmSync(host.addresses, { recursive: true });
  await host.run('ip', ['link', 'del', 'cni0']);
  const asking = { ...host.bridge([]), capabilities: { ipRanges: true } };
  host.configure('05-other.conflist', [asking]);
  await agent.kill();
  const restarted = await host.agent({ confTemplate });
  assert.deepEqual((await restarted.call('attach', host.request('b', { netnsPath: host.netns('a') }))).ips, [
    '10.97.0.2',
    'fd97::2',
  ]);
  await restarted.call('detach', 'b', host.netns('a'));
  await restarted.call('setPodCidr', '10.96.0.0/24');
  assert.equal((await restarted.call('conflists'))[0]?.file, join(host.conf, '05-other.conflist'));
});

test('twenty pods at once get twenty addresses', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-net.conflist');
  const agent = await host.agent();
  const ids = Array.from({ length: 20 }, (_, at) => `pod${at}`);
  for (const id of ids) await agent.call('pin', host.netns(id));
  const results = await Promise.all(ids.map((id) => agent.call('attach', host.request(id))));
  assert.equal(new Set(results.flatMap(({ ips }) => ips)).size, 40);
  await Promise.all(ids.map((id) => agent.call('detach', id, host.netns(id))));
});
