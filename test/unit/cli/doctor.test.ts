import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cgroupLayout, checkCgroups } from '../../../src/cli/doctor/cgroups.ts';
import type { Finding } from '../../../src/cli/doctor/finding.ts';
import type { FileFacts, FilesystemFacts, Host } from '../../../src/cli/doctor/host.ts';
import { checkKernel } from '../../../src/cli/doctor/kernel.ts';
import { checkNetwork } from '../../../src/cli/doctor/network.ts';
import { checkImageTools, checkRuntimes } from '../../../src/cli/doctor/runtimes.ts';
import { checkSecurity } from '../../../src/cli/doctor/security.ts';
import { checkStorage } from '../../../src/cli/doctor/storage.ts';
import { startFake } from './fake-server.ts';
import { berthctl } from './run-cli.ts';

/** A machine of texts. */
function machine(facts: {
  kernel?: string;
  uid?: number;
  files?: Record<string, string>;
  folders?: Record<string, string[]>;
  owners?: Record<string, FileFacts>;
  filesystem?: Partial<FilesystemFacts>;
  programs?: Record<string, string>;
}): Host {
  const { kernel = '6.1.0', uid = 0, files = {}, folders = {}, owners = {}, programs = {} } = facts;
  return {
    kernel,
    uid,
    read: (path) => Promise.resolve(files[path]),
    list: (folder) => Promise.resolve(folders[folder]),
    facts: (path) => Promise.resolve(owners[path]),
    filesystem: () =>
      Promise.resolve({
        type: 0xef53,
        freeBytes: 50e9,
        totalBytes: 100e9,
        freeInodes: 9e6,
        totalInodes: 10e6,
        ...facts.filesystem,
      }),
    find: (program) => Promise.resolve(program in programs ? `/bin/${program}` : undefined),
    run: (path) => Promise.resolve(programs[path.replace('/bin/', '')] ?? new Error('no such program')),
  };
}

const verdicts = (findings: readonly Finding[]) => findings.map(({ what, verdict }) => `${what} ${verdict}`);
const places = { root: '/var/lib/berth', state: '/run/berth', socket: '/run/berth/berth.sock' };
const network = { confDir: '/etc/cni/net.d', binDirs: ['/opt/cni/bin'] };
const namespaces = { '/proc/self/ns': ['net', 'ipc', 'uts', 'pid', 'mnt', 'cgroup', 'user'] };

describe('doctor', () => {
  it('finds an old kernel, missing namespaces, and that one is not root', async () => {
    const check = async (facts: Parameters<typeof machine>[0]) => verdicts(await checkKernel(machine(facts)));
    assert.deepEqual(await check({ folders: namespaces }), ['kernel ok', 'root ok']);
    assert.deepEqual(await check({ kernel: '5.4.0', folders: namespaces }), ['kernel failure', 'root ok']);
    assert.deepEqual(await check({ kernel: '5.10.1', folders: namespaces }), ['kernel warning', 'root ok']);
    assert.deepEqual(await check({ folders: {}, uid: 1000 }), ['kernel failure', 'root failure']);
    const files = { '/proc/self/status': 'CapEff:\t00000000a80425fb\n' };
    assert.deepEqual(await check({ folders: namespaces, files }), ['kernel ok', 'root failure']);
  });

  const v2 = '30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n';
  const v1 =
    '31 1 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n32 1 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n33 1 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids,cpuset\n';
  const known = '#subsys_name\thierarchy\ncpu\t1\ncpuset\t1\nmemory\t2\npids\t3\n';

  it('tells the cgroup layouts apart, and finds controllers that are missing', async () => {
    const layout = (mounts: string, controllers: string) =>
      cgroupLayout(
        machine({
          files: {
            '/proc/self/mountinfo': mounts,
            '/proc/cgroups': known,
            '/sys/fs/cgroup/cgroup.controllers': controllers,
          },
        }),
      );
    const modern = await layout(v2, 'cpuset cpu io memory pids\n');
    assert.deepEqual([modern.kind, ...verdicts(checkCgroups(modern))], ['v2', 'cgroups ok']);
    const poor = await layout(v2, 'cpu io\n');
    assert.match(checkCgroups(poor)[0]?.mend ?? '', /echo \+memory \+pids > /);
    const old = await layout(v1, '');
    assert.deepEqual([old.kind, ...verdicts(checkCgroups(old))], ['v1', 'cgroups ok']);
    const mixed = await layout(v1 + v2, 'hugetlb\n');
    assert.deepEqual([mixed.kind, mixed.beside], ['hybrid', ['hugetlb']]);
    assert.deepEqual(verdicts(checkCgroups(await layout('', ''))), ['cgroups failure']);
  });

  it('finds that no runtime works with the cgroups, or that there is none', async () => {
    const layout = { kind: 'hybrid', controllers: ['cpu'], beside: ['hugetlb'] } as const;
    const check = async (programs: Record<string, string>) =>
      verdicts(await checkRuntimes(machine({ programs }), layout));
    assert.deepEqual(await check({ crun: 'crun version 1.8', runc: 'runc version 1.1.5' }), ['runtime ok']);
    assert.deepEqual(await check({ crun: 'crun version 1.8' }), ['runtime failure']);
    assert.deepEqual(await check({}), ['runtime failure']);
    assert.deepEqual(verdicts(await checkImageTools(machine({}))), ['skopeo failure']);
  });

  it('finds a network configuration that is missing or wrong, and plugins that are not there', async () => {
    const conf = { plugins: [{ type: 'bridge', ipMasq: true, ipam: { type: 'host-local' } }] };
    const check = async (text: string | undefined, programs: string[]) => {
      const files = text === undefined ? {} : { '/etc/cni/net.d/10-a.conflist': text };
      const folders = text === undefined ? {} : { '/etc/cni/net.d': ['10-a.conflist', 'note.txt'] };
      const named = Object.fromEntries(programs.map((name) => [name, '']));
      const [finding] = await checkNetwork(machine({ files, folders, programs: named }), network);
      return finding;
    };
    assert.match((await check(undefined, []))?.mend ?? '', /^mkdir -p \/etc\/cni\/net\.d && echo '/);
    assert.match((await check('{', []))?.says ?? '', /is no CNI configuration/);
    assert.match((await check(JSON.stringify(conf), ['bridge']))?.says ?? '', /needs the plugins host-local/);
    assert.match((await check(JSON.stringify(conf), ['bridge', 'host-local']))?.says ?? '', /neither iptables nor nft/);
    assert.equal((await check(JSON.stringify(conf), ['bridge', 'host-local', 'nft']))?.verdict, 'ok');
  });

  it('finds a full disk, an overlay below, and files that anybody may write', async () => {
    const files = { '/proc/filesystems': 'nodev\toverlay\n' };
    const check = async (facts: Parameters<typeof machine>[0]) =>
      verdicts(await checkStorage(machine({ files, ...facts }), places)).filter((text) => !text.endsWith(' ok'));
    assert.deepEqual(await check({}), []);
    assert.deepEqual(await check({ filesystem: { freeBytes: 1e8 } }), ['disk failure']);
    assert.deepEqual(await check({ filesystem: { freeInodes: 10 } }), ['disk warning']);
    assert.deepEqual(await check({ filesystem: { type: 0x794c7630 } }), ['overlayfs failure']);
    assert.deepEqual(await check({ files: {} }), ['overlayfs failure']);
    const owners = { '/run/berth': { mode: 0o777, uid: 0 }, '/run/berth/berth.sock': { mode: 0o666, uid: 0 } };
    assert.deepEqual(await check({ owners }), ['permissions failure', 'permissions failure']);
  });

  it('finds that system calls cannot be filtered, or that the profile is missing', async () => {
    const available = { '/proc/sys/kernel/seccomp/actions_avail': 'kill' };
    assert.deepEqual(verdicts(await checkSecurity(machine({}))), ['seccomp failure']);
    assert.deepEqual(verdicts(await checkSecurity(machine({ files: available }))), ['seccomp failure']);
    const files = { ...available, '/usr/share/containers/seccomp.json': '{}' };
    assert.deepEqual(verdicts(await checkSecurity(machine({ files }))), ['seccomp ok']);
  });

  it('works without the daemon, and exits with 1 because it is not there', async () => {
    const { code, stdout } = await berthctl('/run/no-such.sock', ['doctor']);
    assert.equal(code, 1);
    assert.match(stdout, /FAIL {2}berthd +no answer: there is no socket .*\n {6}mend: +systemctl start berthd/);
  });

  it("tells the daemon's own troubles", async (t) => {
    const Status = () => ({
      status: { conditions: [{ type: 'NetworkReady', status: false, reason: 'NoConf', message: 'none' }] },
    });
    const fake = await startFake({ runtime: { Status } });
    t.after(() => fake.close());
    const { stdout } = await berthctl(fake.socket, ['doctor', '-o', 'json']);
    const findings = JSON.parse(stdout) as Finding[];
    assert.deepEqual(
      findings.filter(({ what }) => what === 'berthd').map(({ verdict, says }) => [verdict, says]),
      [
        ['ok', `berthd 0.1.0 answers on ${fake.socket}`],
        ['failure', 'it says that NetworkReady is not so: NoConf: none'],
      ],
    );
  });
});
