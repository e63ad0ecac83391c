import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  write,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cloneFlags, readProcessStatus } from '../../../src/linux/index.ts';
import { native, root, temporaryFolder, until, Watcher } from './addon.ts';

const folder = temporaryFolder();
const watcher = new Watcher();
after(() => watcher.loop.stop());

/** A copy of dist/ whose host is a shell, which runs the given script in place of shim.mjs. */
function installation(name: string, script: string): string {
  const place = join(folder, name);
  mkdirSync(join(place, 'bin'), { recursive: true });
  mkdirSync(join(place, 'lib'));
  const launcher = join(place, 'bin/containerd-shim-berth-v2');
  copyFileSync(join(root, 'dist/bin/containerd-shim-berth-v2'), launcher);
  // The shell skips the flags that are meant for Node: it takes its script from the first argument that is a file.
  writeFileSync(join(place, 'lib/shim.mjs'), script);
  copyFileSync('/bin/bash', join(place, 'lib/bash'));
  writeFileSync(
    join(place, 'lib/node'),
    `#!${join(place, 'lib/bash')}\nwhile [ ! -f "$1" ]; do shift; done\n. "$@"\n`,
    { mode: 0o755 },
  );
  return launcher;
}

interface Run {
  exitCode: number;
  stdout: string;
  stderr: string;
}

async function run(file: string, argv: string[], env: string[] = []): Promise<Run> {
  const [stdout, stderr] = [native.memfd('stdout'), native.memfd('stderr')];
  const pid = native.spawn({ file, argv, env: ['PATH=/usr/bin:/bin', ...env], fds: [-1, stdout, stderr] });
  const { exitCode } = await watcher.exitOf(pid);
  const [out, err] = [stdout, stderr].map((fd) => readFileSync(`/proc/self/fd/${fd}`, 'utf8'));
  native.close(stdout);
  native.close(stderr);
  return { exitCode, stdout: out ?? '', stderr: err ?? '' };
}

test('any command but start becomes the host, with its arguments, environment and pid', async () => {
  const launcher = installation('command', 'echo "$@ / $VARIABLE / $(readlink /proc/$$/exe)"; exit 7\n');
  const { exitCode, stdout } = await run(
    launcher,
    ['containerd-shim-berth-v2', '-namespace', 'n', '-id', 'start', 'delete'],
    ['VARIABLE=value'],
  );
  assert.equal(stdout, `-namespace n -id start delete / value / ${join(folder, 'command/lib/bash')}\n`);
  assert.equal(exitCode, 7);
});

test('the host is told the limit of open descriptors that it was started with', async () => {
  const launcher = installation('limits', 'echo $BERTH_OPEN_FILES\n');
  const own = native.memfd('output');
  const argv = ['shim', 'delete'];
  const pid = native.spawn({ file: launcher, argv, env: ['PATH=/bin'], fds: [-1, own, 2], openFiles: 321 });
  await watcher.exitOf(pid);
  assert.equal(readFileSync(`/proc/self/fd/${own}`, 'utf8'), '321\n');
  assert.equal(
    (await run(launcher, argv, ['BERTH_OPEN_FILES=77'])).stdout,
    '77\n',
    'what an earlier one was told stays',
  );
});

test('it finds its own folder whatever it is called by', async () => {
  installation('linked', 'echo found\n');
  const link = join(folder, 'elsewhere');
  symlinkSync(join(folder, 'linked/bin/containerd-shim-berth-v2'), link);
  assert.equal((await run(link, ['x', 'delete'])).stdout, 'found\n');
});

test('the real host shows the name it was called by and the flags of its user', async () => {
  const place = join(folder, 'real');
  mkdirSync(join(place, 'bin'), { recursive: true });
  mkdirSync(join(place, 'lib'));
  const launcher = join(place, 'bin/containerd-shim-berth-v2');
  copyFileSync(join(root, 'dist/bin/containerd-shim-berth-v2'), launcher);
  symlinkSync(join(root, 'dist/lib/node'), join(place, 'lib/node'));
  writeFileSync(
    join(place, 'lib/shim.mjs'),
    'import { readFileSync } from "node:fs"; console.log(readFileSync("/proc/self/cmdline", "latin1").split("\\0").join("|"), process.argv.slice(2).join("|"));',
  );
  const { stdout, stderr } = await run(launcher, ['/some/where/shim', '-id', 'abc', 'delete']);
  const [shown, seen] = stdout.trim().split(' ');
  assert.match(shown ?? stderr, /^\/some\/where\/shim\|--.*\/lib\/shim\.mjs\|-id\|abc\|delete\|$/);
  assert.equal(seen, '-id|abc|delete');
});

test('start prints what the shim answers and exits with its code, while the shim lives on in its own session', async () => {
  const script =
    'echo $$ > "$PIDFILE"; printf "3\\n{\\"version\\": 3}\\nmore" >&$BERTH_RESULT_FD; exec 3>&-; exec 0<&- 1>&- 2>&-; exec sleep 60\n';
  const launcher = installation('start', script);
  const pidFile = join(folder, 'pid');
  const { exitCode, stdout, stderr } = await run(launcher, ['shim', '-id', 'x', 'start'], [`PIDFILE=${pidFile}`]);
  assert.deepEqual({ exitCode, stdout, stderr }, { exitCode: 3, stdout: '{"version": 3}\nmore', stderr: '' });
  const pid = Number(readFileSync(pidFile, 'utf8'));
  const status = readProcessStatus(pid);
  assert.equal(status?.session, pid);
  await until(() => readlinkSync(`/proc/${pid}/exe`).endsWith('sleep'));
  native.kill(pid, 9);
});

test('a shim that is upgraded in place is not started a second time, though its arguments say start', async () => {
  const launcher = installation('upgrade', 'echo "$@ $$"\n');
  const output = native.memfd('output');
  const env = ['PATH=/bin', 'BERTH_HANDOVER=9'];
  const pid = native.spawn({ file: launcher, argv: ['shim', '-id', 'x', 'start'], env, fds: [-1, output, 2] });
  await watcher.exitOf(pid);
  assert.equal(readFileSync(`/proc/self/fd/${output}`, 'utf8'), `-id x start ${pid}\n`);
});

test('start hands stdin on to the shim', async () => {
  const launcher = installation('stdin', 'read line; printf "0\\n$line" >&3\n');
  const [read, write] = native.pipe();
  native.write(write, new TextEncoder().encode('parameters\n'));
  native.close(write);
  const output = native.memfd('output');
  const pid = native.spawn({ file: launcher, argv: ['shim', 'start'], env: ['PATH=/bin'], fds: [read, output, 2] });
  assert.equal((await watcher.exitOf(pid)).exitCode, 0);
  assert.equal(readFileSync(`/proc/self/fd/${output}`, 'utf8'), 'parameters');
});

test('start passes an answer larger than a pipe on', async () => {
  const launcher = installation('large', 'printf "0\\n" >&3; head -c 1000000 /dev/zero | tr "\\0" x >&3\n');
  const { exitCode, stdout } = await run(launcher, ['shim', 'start']);
  assert.equal(exitCode, 0);
  assert.equal(stdout.length, 1_000_000);
});

test('start fails when the shim ends without an answer, or answers something else', async () => {
  const silent = await run(installation('silent', 'exit 0\n'), ['shim', 'start']);
  assert.deepEqual([silent.exitCode, silent.stdout], [1, '']);
  assert.match(silent.stderr, /ended before it could answer/);
  const garbled = await run(installation('garbled', 'printf "unix:///x\\n" >&3\n'), ['shim', 'start']);
  assert.deepEqual([garbled.exitCode, garbled.stdout], [1, '']);
  assert.match(garbled.stderr, /does not begin with an exit code/);
  const cut = await run(installation('cut', 'printf "0" >&3\n'), ['shim', 'start']);
  assert.equal(cut.exitCode, 1);
});

test('without its host it says so', async () => {
  const place = join(folder, 'bare');
  mkdirSync(join(place, 'bin'), { recursive: true });
  const launcher = join(place, 'bin/containerd-shim-berth-v2');
  linkSync(join(folder, 'command/bin/containerd-shim-berth-v2'), launcher);
  for (const command of ['start', 'delete']) {
    const { exitCode, stderr } = await run(launcher, ['shim', command]);
    assert.equal(exitCode, 1);
    assert.match(stderr, /cannot run the JavaScript host in \.\.\/lib: No such file or directory/);
  }
});

const pause = join(root, 'dist/bin/containerd-shim-berth-v2');

for (const signal of [2, 15]) {
  test(`berth-pause as pid 1 reaps orphans and exits with 0 on signal ${signal}`, async () => {
    const pid = native.spawn({
      file: pause,
      argv: ['/x/berth-pause'],
      env: [],
      fds: [],
      cloneFlags: cloneFlags.pid,
      parentDeathSignal: 9,
    });
    await until(() => readProcessStatus(pid)?.state === 'S');
    const script = '(sleep 0.1 & exec sleep 0.05) & sleep 0.02; exit 0';
    const entered = native.spawn({
      file: '/usr/bin/nsenter',
      argv: ['nsenter', '-t', String(pid), '-p', 'sh', '-c', script],
      env: ['PATH=/usr/bin:/bin'],
      fds: [-1, 2, 2],
    });
    await watcher.exitOf(entered);
    const children = () => readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1');
    await until(() => children() === '' && readProcessStatus(pid)?.state === 'S');
    assert.equal(
      watcher.events.some((event) => event.kind === 'exit' && event.pid === pid),
      false,
    );
    native.kill(pid, signal);
    const exit = await watcher.exitOf(pid);
    assert.deepEqual([exit.exitCode, exit.signal], [0, 0]);
  });
}

/** The text of a log without its times. */
const linesOf = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .map((line) => line.replace(/^\S+ /, ''))
    .slice(0, -1);

test('berth-logger writes FIFOs into a log, opens it anew, and ends with them', async () => {
  const place = join(folder, 'logger');
  mkdirSync(place);
  const at = (name: string) => join(place, name);
  const [out, err, log, note] = [at('out'), at('err'), at('log'), at('note')];
  for (const path of [out, err]) native.mkfifo(path, 0o600);
  writeFileSync(note, '');
  const answer = native.memfd('answer');
  const fds = [-1, answer, 2, ...[out, err].map((path) => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK))];
  const pid = native.spawn({
    file: pause,
    argv: ['berth-logger', 'first', note, log, 'stdout', 'stderr'],
    env: [],
    fds,
  });
  for (const fd of fds.slice(3)) closeSync(fd);
  await until(() => readFileSync(`/proc/self/fd/${answer}`, 'utf8') === 'ready');
  native.close(answer);
  assert.equal(readFileSync(note, 'utf8'), `${pid}\n`);
  assert.equal(readFileSync(log, 'utf8'), '');
  await sleep(50);
  assert.equal(readProcessStatus(pid)?.state, 'S', 'a FIFO without a writer is no end');

  const [writeOut, writeErr] = [openSync(out, 'w'), openSync(err, 'w')];
  writeSync(writeOut, 'one\ntw');
  await until(() => linesOf(log).includes('stdout F one'));
  renameSync(log, at('log.1'));
  native.kill(pid, 1);
  await until(() => existsSync(log));
  writeSync(writeOut, 'o\n');
  writeSync(writeErr, 'no end');
  closeSync(writeErr);
  await until(() => linesOf(log).length === 2);
  assert.deepEqual(linesOf(log).sort(), ['stderr P no end', 'stdout F two']);
  assert.deepEqual(linesOf(at('log.1')), ['stdout F one']);
  writeSync(writeOut, 'last\n');
  closeSync(writeOut);
  assert.equal((await watcher.exitOf(pid)).exitCode, 0);
  assert.equal(linesOf(log).at(-1), 'stdout F last');
  assert.equal(readFileSync(note, 'utf8'), `${pid}\nended\n`);
});

test('berth-logger writes what is there when it is told to end, and tells why it cannot begin', async () => {
  const place = join(folder, 'logger-ends');
  mkdirSync(place);
  const fifo = join(place, 'out');
  native.mkfifo(fifo, 0o600);
  writeFileSync(join(place, 'note'), '');
  const start = (log: string, stdout: number, mode = 'first') => {
    const fds = [-1, stdout, 2, openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK)];
    const pid = native.spawn({
      file: pause,
      argv: ['berth-logger', mode, join(place, 'note'), log, 'stdout'],
      env: [],
      fds,
    });
    closeSync(fds[3] ?? -1);
    return pid;
  };
  const answer = native.memfd('answer');
  const said = () => readFileSync(`/proc/self/fd/${answer}`, 'utf8');
  assert.equal((await watcher.exitOf(start(join(place, 'absent/log'), answer))).exitCode, 1);
  assert.match(said(), /absent\/log: No such file or directory$/);
  const log = join(place, 'log');
  const writer = openSync(fifo, 'r+');
  const pid = start(log, answer);
  await until(() => said().endsWith('ready'));
  native.kill(pid, 19);
  writeSync(writer, 'late\n');
  native.kill(pid, 15);
  native.kill(pid, 18);
  assert.equal((await watcher.exitOf(pid)).exitCode, 0);
  assert.deepEqual(linesOf(log), ['stdout F late']);
  assert.equal(readFileSync(join(place, 'note'), 'utf8'), `${pid}\n`, 'the output has not ended');

  const late = join(place, 'folder/log');
  const again = start(late, answer, 'again');
  await until(() => said().endsWith('readyready'));
  // More than a pipe holds: nobody waits for a log that cannot be written.
  const much = Buffer.alloc(1 << 17, 'x\n');
  for (let at = 0; at < much.length;) at += await writeSome(writer, much.subarray(at));
  mkdirSync(join(place, 'folder'));
  native.kill(again, 1);
  await until(() => existsSync(late));
  await writeSome(writer, Buffer.from('heard\n'));
  await until(() => linesOf(late).includes('stdout F heard'));
  closeSync(writer);
  assert.equal((await watcher.exitOf(again)).exitCode, 0);
  assert.equal(readFileSync(join(place, 'note'), 'utf8'), `${again}\nended\n`);
  native.close(answer);
});

/** Writes what there is room for, when there is room. */
function writeSome(fd: number, bytes: Buffer): Promise<number> {
  return new Promise((resolve, reject) =>
    write(fd, bytes, 0, Math.min(bytes.length, 4096), null, (error, count) => (error ? reject(error) : resolve(count))),
  );
}
