import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, readFileSync, readlinkSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { native, temporaryFolder, until, Watcher } from './addon.ts';

const folder = temporaryFolder();
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function closeOnExec(fd: number): boolean {
  const flags = /^flags:\t([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1] ?? '';
  return (parseInt(flags, 8) & 0o2000000) !== 0;
}

function closeAll(...fds: number[]): void {
  for (const fd of fds) native.close(fd);
}

test('a pipe carries bytes; an empty one gives -1, a closed one 0, and EPIPE', () => {
  const [read, write] = native.pipe();
  const into = new Uint8Array(16);
  assert.deepEqual([closeOnExec(read), closeOnExec(write)], [true, true]);
  assert.equal(native.read(read, into), -1);
  assert.equal(native.write(write, bytes('hello')), 5);
  assert.equal(native.read(read, into), 5);
  assert.equal(new TextDecoder().decode(into.subarray(0, 5)), 'hello');
  native.close(write);
  assert.equal(native.read(read, into), 0);
  native.close(read);
  const [reader, writer] = native.pipe();
  native.close(reader);
  assert.throws(() => native.write(writer, bytes('x')), { code: 'EPIPE', syscall: 'write' });
  native.close(writer);
});

test('reading and writing do not wait, though the pipe is a blocking one', () => {
  const [read, write] = native.pipe();
  let total = 0;
  for (let written = 0; written >= 0; written = native.write(write, new Uint8Array(100_000))) total += written;
  assert.equal(total, 65_536);
  closeAll(read, write);
});

test('a view of a buffer is read into and written from at its own place', () => {
  const [read, write] = native.pipe();
  const buffer = new Uint8Array(8).fill(46);
  native.write(write, bytes('abcdef').subarray(2, 4));
  assert.equal(native.read(read, buffer.subarray(3, 7)), 2);
  assert.equal(new TextDecoder().decode(buffer), '...cd...');
  assert.throws(() => native.read(read, new Uint16Array(4) as unknown as Uint8Array), TypeError);
  closeAll(read, write);
});

test('descriptors are duplicated, replaced and marked', () => {
  const [read, write] = native.pipe();
  const copy = native.duplicate(write);
  assert.ok(copy > 2 && closeOnExec(copy));
  assert.equal(readlinkSync(`/proc/self/fd/${copy}`), readlinkSync(`/proc/self/fd/${write}`));
  native.duplicateTo(read, copy);
  assert.equal(readlinkSync(`/proc/self/fd/${copy}`), readlinkSync(`/proc/self/fd/${read}`));
  assert.equal(closeOnExec(copy), false);
  assert.equal(native.setCloseOnExec(copy, true), true);
  assert.equal(closeOnExec(copy), true);
  closeAll(read, write, copy);
  assert.equal(native.setCloseOnExec(copy, true), false);
  assert.throws(() => native.close(copy), { code: 'EBADF', errno: 9, syscall: 'close' });
});

test('a memfd is a file without a name', () => {
  const fd = native.memfd('berth-test');
  writeSync(fd, 'content');
  assert.match(readlinkSync(`/proc/self/fd/${fd}`), /^\/memfd:berth-test/);
  assert.ok(closeOnExec(fd));
  native.close(fd);
});

test('a FIFO has the mode that was asked for, whatever the umask', () => {
  const before = process.umask(0o077);
  const path = join(folder, 'fifo');
  native.mkfifo(path, 0o666);
  process.umask(before);
  assert.ok(statSync(path).isFIFO());
  assert.equal(statSync(path).mode & 0o777, 0o666);
  assert.throws(() => native.mkfifo(path, 0o600), { code: 'EEXIST', syscall: 'mkfifo', path });
});

test("a terminal's window size is set and read", () => {
  const master = openSync('/dev/ptmx', 'r+');
  native.setWindowSize(master, 132, 43);
  assert.deepEqual(native.windowSize(master), { columns: 132, rows: 43 });
  assert.throws(() => native.setWindowSize(master, 70_000, 1), { code: 'EINVAL' });
  closeSync(master);
  const file = openSync('/dev/null', 'r');
  assert.throws(() => native.windowSize(file), { code: 'ENOTTY', syscall: 'TIOCGWINSZ' });
  closeSync(file);
});

test('unix sockets: listening, connecting, accepting, the peer, bytes both ways', () => {
  const path = join(folder, 'socket');
  const listener = native.listenUnix(path, 5, 0o600);
  assert.equal(statSync(path).mode & 0o7777, 0o600);
  assert.equal(native.accept(listener), -1);
  const client = native.connectUnix(path);
  const server = native.accept(listener);
  assert.ok(server > 0 && closeOnExec(server) && closeOnExec(client) && closeOnExec(listener));
  const { pid, uid, gid } = native.peerCredentials(server);
  assert.deepEqual([pid, uid, gid], [process.pid, process.getuid?.(), process.getgid?.()]);
  native.write(client, bytes('to the server'));
  const into = new Uint8Array(64);
  assert.equal(native.read(server, into), 13);
  assert.equal(native.read(server, into), -1);
  native.close(client);
  assert.equal(native.read(server, into), 0);
  assert.throws(() => native.write(server, bytes('x')), { code: 'EPIPE' });
  assert.throws(() => native.listenUnix(path, 5, 0o600), { code: 'EADDRINUSE', syscall: 'bind', path });
  closeAll(server, listener);
  assert.throws(() => native.connectUnix(path), { code: 'ECONNREFUSED', syscall: 'connect', path });
  assert.throws(() => native.connectUnix(join(folder, 'none')), { code: 'ENOENT' });
});

test('a socket path longer than the kernel takes is reached through its folder', () => {
  const deep = join(folder, 'a'.repeat(100), 'b'.repeat(100));
  mkdirSync(deep, { recursive: true });
  const path = join(deep, 'socket');
  const listener = native.listenUnix(path, 1, 0o660);
  assert.equal(statSync(path).mode & 0o777, 0o660);
  const client = native.connectUnix(path);
  const server = native.accept(listener);
  closeAll(client, server, listener);
  assert.throws(() => native.listenUnix(join(deep, 'n'.repeat(108)), 1, 0o600), { code: 'ENAMETOOLONG' });
});

test('a pair of sockets is connected and close-on-exec', () => {
  const [left, right] = native.socketPair();
  native.write(left, bytes('ping'));
  assert.equal(native.read(right, new Uint8Array(8)), 4);
  assert.ok(closeOnExec(left) && closeOnExec(right));
  closeAll(left, right);
});

test('a descriptor is received over a socket; not yet, none, and end of file are told apart', async () => {
  const watcher = new Watcher();
  after(() => watcher.loop.stop());
  const [left, right] = native.socketPair();
  assert.equal(native.receiveDescriptor(left), -1);
  const script = [
    'import array,os,socket',
    's=socket.socket(fileno=3)',
    'r,w=os.pipe()',
    'os.write(w,b"through")',
    's.sendmsg([b"pipe"],[(socket.SOL_SOCKET,socket.SCM_RIGHTS,array.array("i",[r,w]))])',
  ].join('\n');
  const pid = native.spawn({
    file: '/usr/bin/python3',
    argv: ['python3', '-c', script],
    env: [],
    fds: [-1, 2, 2, right],
  });
  assert.equal((await watcher.exitOf(pid)).exitCode, 0);
  const fd = native.receiveDescriptor(left);
  const into = new Uint8Array(16);
  assert.ok(closeOnExec(fd));
  assert.equal(native.read(fd, into), 7);
  assert.equal(native.read(fd, into), 0, 'the second descriptor of the message is closed');
  native.write(right, bytes('no descriptor'));
  assert.throws(() => native.receiveDescriptor(left), { code: 'EBADMSG' });
  native.close(right);
  assert.throws(() => native.receiveDescriptor(left), { code: 'ECONNRESET' });
  closeAll(left, fd);
});

test('a process is signalled by pid and by pidfd, which outlives it', async () => {
  const watcher = new Watcher();
  const sleeper = (): number => native.spawn({ file: '/bin/sleep', argv: ['sleep', '60'], env: [], fds: [] });
  const first = sleeper();
  native.kill(first, 15);
  assert.equal((await watcher.exitOf(first)).signal, 15);
  const second = sleeper();
  const pidfd = native.pidfdOpen(second);
  native.pidfdSendSignal(pidfd, 9);
  assert.equal((await watcher.exitOf(second)).signal, 9);
  assert.throws(() => native.pidfdSendSignal(pidfd, 9), { code: 'ESRCH', syscall: 'pidfd_send_signal' });
  assert.throws(() => native.pidfdOpen(second), { code: 'ESRCH' });
  assert.throws(() => native.kill(second, 9), { code: 'ESRCH', syscall: 'kill' });
  native.close(pidfd);
  watcher.loop.stop();
});

test('the process takes a name, and gives memory back', async () => {
  native.setProcessName('berth-named');
  await until(() => readFileSync('/proc/self/comm', 'latin1') === 'berth-named\n');
  native.trimMemory();
});

test('core scheduling either makes a cookie or says that the kernel has none', () => {
  try {
    native.createCoreSchedulingCookie(0, 0);
  } catch (error) {
    assert.ok(['EINVAL', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? ''), String(error));
  }
});
