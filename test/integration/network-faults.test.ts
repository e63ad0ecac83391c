import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Code } from '../../src/grpc/index.ts';
import { AgentError, NetworkHost } from '../support/network-host.ts';
import { until } from '../support/until.ts';

/** Pids of processes that a plugin call about this sandbox has left. */
function callsAbout(sandboxId: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`CNI_CONTAINERID=${sandboxId}`);
      } catch {
        return false;
      }
    });
}

for (const { what, script, code, message } of [
  {
    what: 'hangs, with what it has started',
    script: '[ "$CNI_COMMAND" = DEL ] || { sleep 1000 & sleep 1000; }',
    code: Code.DeadlineExceeded,
    message: /not finished after 3 s/,
  },
  {
    what: 'prints garbage',
    script: 'echo "all is well"',
    code: Code.Internal,
    message: /result is not valid: it is no JSON/,
  },
  { what: 'prints nothing', script: 'true', code: Code.Internal, message: /result is not valid/ },
  {
    what: 'prints an address that is none',
    script: 'echo "{\\"ips\\": [{\\"address\\": \\"10.0.0.1; reboot\\"}]}"',
    code: Code.Internal,
    message: /is no address with a length/,
  },
  {
    what: 'takes all addresses away',
    script: 'echo "{}"',
    code: Code.Internal,
    message: /gave eth0 no address/,
  },
  {
    what: 'prints without end',
    script: '[ "$CNI_COMMAND" = DEL ] || yes',
    code: Code.Internal,
    message: /printed more than 1048576 bytes/,
  },
  {
    what: 'fails with an error of its own',
    script:
      '[ "$CNI_COMMAND" = DEL ] || { echo "{\\"code\\": 101, \\"msg\\": \\"no luck\\", \\"details\\": \\"today\\"}"; exit 1; }',
    code: Code.Internal,
    message: /CNI plugin "broken" of network "net" \(.*10-net\.conflist\) failed \(ADD\): no luck: today \(code 101\)/,
  },
  {
    what: 'asks to be called again later',
    script: '[ "$CNI_COMMAND" = DEL ] || { echo "{\\"code\\": 11, \\"msg\\": \\"busy\\"}"; exit 1; }',
    code: Code.Unavailable,
    message: /busy \(code 11\)/,
  },
  {
    what: 'dies with a message',
    script: '[ "$CNI_COMMAND" = DEL ] || { echo "out of luck" >&2; kill -9 $$; }',
    code: Code.Internal,
    message: /ended with 137, and said "out of luck"/,
  },
] as const) {
  test(`a plugin that ${what} fails the pod, whose addresses are given back`, async (t) => {
    const host = await NetworkHost.open(t);
    host.configure('10-net.conflist', [host.bridge(), host.script('broken', script)]);
    const agent = await host.agent(what.startsWith('hangs') ? { deadline: 3000 } : {});
    await agent.call('pin', host.netns('broken-pod'));
    await assert.rejects(agent.call('attach', host.request('broken-pod')), (error) => {
      assert.ok(error instanceof AgentError);
      assert.match(error.message, message);
      assert.equal(error.code, code);
      return true;
    });
    assert.deepEqual(callsAbout('broken-pod'), []);
    await agent.call('detach', 'broken-pod', host.netns('broken-pod'));
  });
}

test('a plugin whose program is not there is named, with where it was looked for', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-net.conflist', [host.bridge(), { type: 'absent' }]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  await assert.rejects(
    agent.call('attach', host.request('a')),
    /CNI plugin "absent" .* no such program in \/no\/such\/folder:/,
  );
});

test('a script may open its standard files by name, and leave a process behind', async (t) => {
  const host = await NetworkHost.open(t);
  const script = host.script(
    'scripted',
    `input=$(cat /dev/stdin)
echo "called for $CNI_COMMAND of $CNI_ARGS" > /dev/stderr
[ "$CNI_COMMAND" = DEL ] && exit
sleep 60 &
result "$input" > /dev/stdout`,
  );
  host.configure('10-net.conflist', [host.bridge(), script]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  try {
    assert.deepEqual((await agent.call('attach', host.request('a'))).ips, ['10.99.0.2', 'fd99::2']);
    assert.equal(callsAbout('a').length, 1, 'it neither waited for the process that was left nor ended it');
    assert.match((await agent.call('log')).join(''), /called for ADD of IgnoreUnknown=1;K8S_POD_NAMESPACE=default/);
    await agent.call('detach', 'a', host.netns('a'));
  } finally {
    for (const pid of callsAbout('a')) process.kill(Number(pid), 'SIGKILL');
  }
});

test('a pod that nobody wants any more is detached', async (t) => {
  const host = await NetworkHost.open(t);
  const slow = host.script('slow', `[ "$CNI_COMMAND" = DEL ] || { touch ${host.folder}/reached; sleep 1000; }`);
  host.configure('10-net.conflist', [host.bridge(), slow]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  const attached = agent.call('attach', host.request('a'));
  attached.catch(() => undefined);
  await until('the slow plugin is at it', () => readdirSync(host.folder).includes('reached'));
  await agent.call('abort', 'a');
  await assert.rejects(attached, { code: Code.Cancelled });
});

test('what a daemon was about to attach when it died is undone by the next, which waits for nobody', async (t) => {
  const host = await NetworkHost.open(t);
  const slow = host.script('slow', `[ "$CNI_COMMAND" = DEL ] || { touch ${host.folder}/reached; sleep 1000; }`);
  host.configure('10-net.conflist', [host.bridge(), slow]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('killed-pod'));
  agent.call('attach', host.request('killed-pod')).catch(() => undefined);
  await until('the slow plugin is at it', () => readdirSync(host.folder).includes('reached'));
  await agent.kill();
  assert.equal(host.reservedAddresses().length, 2);
  const next = await host.agent();
  await next.call('detach', 'killed-pod', host.netns('killed-pod'));
  assert.deepEqual(callsAbout('killed-pod'), []);
});

test('a daemon that dies at any moment of attaching leaves nothing that the next does not undo', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-net.conflist', [host.bridge(), { type: 'portmap', capabilities: { portMappings: true } }]);
  const portMappings = [{ protocol: 'tcp', containerPort: 80, hostPort: 8080, hostIp: '' }] as const;
  for (const delay of [0, 4, 8, 15, 25, 40]) {
    const agent = await host.agent();
    await agent.call('pin', host.netns('a'));
    const attached = agent.call('attach', host.request('a', { portMappings })).catch(() => undefined);
    await Promise.race([attached, new Promise((resolve) => setTimeout(resolve, delay))]);
    await agent.kill();
    const next = await host.agent();
    await next.call('detach', 'a', host.netns('a'));
    assert.deepEqual([...host.reservedAddresses(), ...host.caches(), ...(await host.veths())], [], `after ${delay} ms`);
    assert.doesNotMatch((await host.run('iptables-save', [])).stdout, /8080/, `after ${delay} ms`);
    await next.call('unpin', host.netns('a'));
    await next.kill();
  }
});

test('what is half-written after a crash of the machine is undone with the networks of now', async (t) => {
  const host = await NetworkHost.open(t);
  host.configure('10-net.conflist');
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  await agent.call('attach', host.request('a'));
  writeFileSync(join(host.cache, 'results', 'a.json'), '{"kind": "berth');
  await agent.call('detach', 'a', host.netns('a'));
});

test('a plugin that cannot detach is called again until it can', async (t) => {
  const host = await NetworkHost.open(t);
  const text = `[ "$CNI_COMMAND" = ADD ] && { result "$(cat)"; exit; }
[ -e ${host.folder}/mended ] || { echo '{"code": 999, "msg": "not now"}'; exit 1; }`;
  host.configure('10-net.conflist', [host.bridge(), host.script('stubborn', text)]);
  const agent = await host.agent();
  await agent.call('pin', host.netns('a'));
  await agent.call('attach', host.request('a'));
  await assert.rejects(agent.call('detach', 'a', host.netns('a')), /failed \(DEL\): not now/);
  writeFileSync(join(host.folder, 'mended'), '');
  await agent.call('detach', 'a', host.netns('a'));
});

test('garbage is what no valid pod has, and plugins of 1.1 are told which pods are valid', async (t) => {
  const host = await NetworkHost.open(t);
  const fake = host.script(
    'modern',
    `input=$(cat)
case $CNI_COMMAND in
ADD) echo '{"cniVersion": "1.1.0", "ips": [{"address": "10.5.0.1/24"}]}' ;;
DEL) echo "$CNI_CONTAINERID" >> ${host.folder}/deleted ;;
STATUS) [ -e ${host.folder}/ready ] || { echo '{"code": 50, "msg": "no controller"}'; exit 1; } ;;
GC) printf %s "$input" > ${host.folder}/gc ;;
esac`,
  );
  host.configure('10-net.conflist', [fake], { cniVersion: '1.1.0' });
  const agent = await host.agent();
  for (const id of ['kept', 'stale']) await agent.call('attach', host.request(id));
  await agent.kill();

  const next = await host.agent();
  await next.call('probe');
  const { ready, reason, message } = await next.call('status');
  assert.deepEqual([ready, reason], [false, 'NetworkPluginNotReady']);
  assert.match(message, /failed \(STATUS\): no controller \(code 50\)/);
  writeFileSync(join(host.folder, 'ready'), '');
  await next.call('probe');
  assert.equal((await next.call('status')).ready, true);

  await next.call('attach', host.request('new'));
  await next.call('garbageCollect', ['kept']);
  assert.equal(host.read('deleted'), 'stale\n');
  const told = JSON.parse(host.read('gc')) as Record<string, unknown>;
  assert.deepEqual(
    (told['cni.dev/valid-attachments'] as { containerID: string; ifname: string }[]).sort((a, b) =>
      a.containerID.localeCompare(b.containerID),
    ),
    [
      { containerID: 'kept', ifname: 'eth0' },
      { containerID: 'new', ifname: 'eth0' },
    ],
  );
  for (const id of ['kept', 'new']) await next.call('detach', id, '');
});

test('configurations are seen as they come, change and go', async (t) => {
  const host = await NetworkHost.open(t);
  const agent = await host.agent();
  const { ready, reason, message } = await agent.call('status');
  assert.deepEqual([ready, reason], [false, 'NetworkPluginNotReady']);
  assert.equal(message, `cni plugin not initialized: no network config in ${host.conf}`);
  await assert.rejects(agent.call('attach', host.request('a')), { code: Code.FailedPrecondition });

  const becomes = (what: string, expected: string | undefined) =>
    until(what, async () => (await agent.call('conflists'))[0]?.name === expected, 4000);
  host.configure('20-b.conflist', undefined, { name: 'b' });
  await becomes('a folder that appears', 'b');
  host.configure('10-a.tmp', undefined, { name: 'a' });
  renameSync(join(host.conf, '10-a.tmp'), join(host.conf, '10-a.conflist'));
  await becomes('a file that is renamed into it', 'a');
  host.configure('10-a.conflist', undefined, { name: 'a2' });
  await becomes('a file that is written anew', 'a2');
  writeFileSync(join(host.conf, '10-a.conflist'), '{');
  await becomes('a file that has become invalid', 'b');
  rmSync(host.conf, { recursive: true });
  await becomes('a folder that has gone', undefined);
  mkdirSync(host.conf);
  host.configure('30-c.conflist', undefined, { name: 'c' });
  await becomes('a folder that has come back', 'c');
  assert.equal((await agent.call('status')).ready, true);
});
