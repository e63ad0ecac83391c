import assert from 'node:assert/strict';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { childProcesses, cloneFlags, detectCgroupLayout } from '../../../src/linux/index.ts';
import { native, temporaryFolder, until, Watcher } from './addon.ts';

const folder = temporaryFolder();
const watcher = new Watcher();
after(() => watcher.loop.stop());

const base = { file: '/bin/true', argv: ['true'], env: [], fds: [] };

test('the child has the descriptors of the table, and no others', async () => {
  const leaked = native.duplicate(1);
  native.setCloseOnExec(leaked, false);
  const pid = native.spawn({ file: '/bin/sleep', argv: ['sleep', '60'], env: [], fds: [-1, leaked, 2, -1] });
  // The dynamic loader opens another for a moment.
  await until(() => readdirSync(`/proc/${pid}/fd`).join() === '0,1,2,3');
  assert.equal(readlinkSync(`/proc/${pid}/fd/3`), '/dev/null');
  assert.equal(readlinkSync(`/proc/${pid}/fd/1`), readlinkSync(`/proc/self/fd/${leaked}`));
  native.kill(pid, 9);
  await watcher.exitOf(pid);
  native.close(leaked);
});

test('a table that exchanges descriptors is filled in without loss', async () => {
  const files = ['a', 'b', 'c', 'd'].map((name) => {
    writeFileSync(join(folder, name), name);
    return openSync(join(folder, name), 'r');
  });
  // Sources below the length of the table are the ones that could be overwritten before they are used.
  const highest = Math.max(...files);
  const table: number[] = Array.from({ length: highest + 1 }, () => -1);
  const output = native.memfd('output');
  table[1] = output;
  table[2] = output;
  const reversed = files.toReversed();
  files.forEach((fd, index) => (table[fd] = reversed[index] as number));
  const script = files.map((fd) => `cat <&${fd}`).join('; ');
  const pid = native.spawn({
    file: '/bin/bash',
    argv: ['bash', '-c', script],
    env: ['PATH=/bin:/usr/bin'],
    fds: table,
  });
  assert.equal((await watcher.exitOf(pid)).exitCode, 0);
  assert.equal(readFileSync(`/proc/self/fd/${output}`, 'utf8'), 'dcba');
  for (const fd of [...files, output]) closeSync(fd);
});

test('arguments, environment and working directory are exactly those given', async () => {
  const { output } = await watcher.shell('tr "\\0" "\\n" < /proc/$$/cmdline; tr "\\0" "\\n" < /proc/$$/environ; pwd', {
    argv: [
      'a name',
      '-c',
      'tr "\\0" "|" < /proc/$$/cmdline; echo; tr "\\0" "|" < /proc/$$/environ; echo; pwd',
      'über',
      '',
    ],
    env: ['ONE=1', 'TWO=zwei drei', 'PATH=/bin:/usr/bin'],
    cwd: folder,
  });
  const [command, environment, directory] = output.split('\n');
  assert.match(command ?? '', /^a name\|-c\|.*\|über\|\|$/);
  assert.equal(environment, 'ONE=1|TWO=zwei drei|PATH=/bin:/usr/bin|');
  assert.equal(directory, folder);
});

test('signals that the caller ignores are not ignored in the child, and none is blocked', async () => {
  assert.match(readFileSync('/proc/self/status', 'utf8'), /^SigIgn:\t.*[1-9a-f].*$/m);
  const { output } = await watcher.shell('', {
    file: '/bin/grep',
    argv: ['grep', '-E', '^Sig(Ign|Blk)', '/proc/self/status'],
  });
  assert.equal(output, 'SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n');
});

test('what cannot be run throws the failed call, and leaves no child', () => {
  const failures = [
    { options: { file: join(folder, 'missing') }, code: 'ENOENT', syscall: 'execve', path: join(folder, 'missing') },
    { options: { file: folder }, code: 'EACCES', syscall: 'execve', path: folder },
    { options: { cwd: '/missing' }, code: 'ENOENT', syscall: 'chdir', path: '/missing' },
    { options: { cgroups: ['/missing'] }, code: 'ENOENT', syscall: 'open', path: '/missing' },
    { options: { joinNamespaces: [987654] }, code: 'EBADF', syscall: 'setns' },
    { options: { fds: [987654] }, code: 'EBADF', syscall: 'dup2' },
  ];
  for (const { options, ...expected } of failures) {
    assert.throws(() => native.spawn({ ...base, ...options }), expected);
  }
  assert.deepEqual(childProcesses(), []);
  assert.deepEqual(
    watcher.events.filter((event) => event.kind === 'exit' && event.exitCode === 127),
    [],
  );
});

test('arguments of the wrong type are a TypeError that names them', () => {
  assert.throws(() => native.spawn({ ...base, argv: 'true' as unknown as string[] }), /argv must be an array/);
  assert.throws(() => native.spawn({ ...base, file: 'a\0b' }), /file must be a string without null bytes/);
  assert.throws(() => native.spawn({ ...base, fds: [1.5] }), TypeError);
  assert.throws(() => native.spawn({ ...base, oomScoreAdj: NaN }), TypeError);
  assert.throws(() => native.spawn(undefined as never), TypeError);
});

test('setsid makes the child the leader of a session', async () => {
  const own = await watcher.shell('cut -d" " -f1,6 /proc/$$/stat', { setsid: true });
  const [pid, session] = own.output.trim().split(' ');
  assert.equal(pid, session);
});

test('oomScoreAdj is set, and one that is refused is not', async () => {
  assert.equal((await watcher.shell('cat /proc/$$/oom_score_adj', { oomScoreAdj: 123 })).output, '123\n');
  assert.equal((await watcher.shell('exit 0', { oomScoreAdj: -1000 })).exit.exitCode, 0);
});

test('openFiles is the soft limit of open descriptors, at most the hard one', async () => {
  assert.equal((await watcher.shell('ulimit -Sn', { openFiles: 1000 })).output, '1000\n');
  const { output } = await watcher.shell('ulimit -Sn; ulimit -Hn', { openFiles: 2 ** 40 });
  const [soft, hard] = output.split('\n');
  assert.equal(soft, hard);
});

test('cloneFlags give new namespaces: the child is pid 1 in its own', async () => {
  const { output } = await watcher.shell('echo $$; readlink /proc/thread-self/ns/uts', {
    cloneFlags: cloneFlags.pid | cloneFlags.uts,
  });
  assert.match(output, /^1\n/);
});

test('cgroups are entered before the program runs', async () => {
  const hierarchy = detectCgroupLayout().hierarchies;
  const { mountPoint } = hierarchy.get('pids') ?? hierarchy.get('') ?? { mountPoint: '' };
  const name = `berth-test-${process.pid}`;
  const cgroup = join(mountPoint, name);
  mkdirSync(cgroup);
  try {
    const { output } = await watcher.shell('cat /proc/self/cgroup', { cgroups: [cgroup] });
    assert.match(output, new RegExp(`/${name}$`, 'm'));
  } finally {
    rmdirSync(cgroup);
  }
});

test('joinNamespaces enters a namespace by descriptor', async () => {
  const path = join(folder, 'uts');
  native.pinNewNamespace('uts', path);
  const fd = openSync(path, 'r');
  const named = await watcher.shell('hostname berth-joined; hostname', { joinNamespaces: [fd] });
  assert.equal(named.output, 'berth-joined\n');
  assert.equal((await watcher.shell('hostname', { joinNamespaces: [fd] })).output, 'berth-joined\n');
  assert.notEqual((await watcher.shell('hostname')).output, 'berth-joined\n');
  closeSync(fd);
});

test('three hundred children at once are all started and told apart', async () => {
  const pids = Array.from({ length: 300 }, (_, index) =>
    native.spawn({ ...base, file: '/bin/sh', argv: ['sh', '-c', `exit ${index % 256}`] }),
  );
  const exits = await Promise.all(pids.map((pid) => watcher.exitOf(pid)));
  assert.deepEqual(
    exits.map(({ exitCode }) => exitCode),
    pids.map((_, index) => index % 256),
  );
  assert.deepEqual(childProcesses(), []);
});
