import assert from 'node:assert/strict';
import { closeSync, constants, existsSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { native, root, temporaryFolder, until, Watcher } from './addon.ts';

const folder = temporaryFolder();
const pollIn = 1;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const started: Watcher[] = [];

function watch(): Watcher {
  const watcher = new Watcher();
  started.push(watcher);
  return watcher;
}

afterEach(() => {
  for (const watcher of started.splice(0)) watcher.loop.stop();
});

test('a watch tells of readiness once, until it is armed again', async () => {
  const watcher = watch();
  const [read, write] = native.pipe();
  watcher.loop.watch(7, read, pollIn);
  await sleep(20);
  assert.deepEqual(watcher.events, []);
  native.write(write, bytes('x'));
  const event = await watcher.of('ready', 7);
  assert.equal(event.bits & pollIn, pollIn);
  await sleep(20);
  assert.equal(watcher.events.length, 1);
  watcher.loop.watch(7, read, pollIn);
  await until(() => watcher.events.length === 2);
  watcher.loop.unwatch(7);
  native.write(write, bytes('x'));
  await sleep(20);
  assert.equal(watcher.events.length, 2);
  assert.throws(() => watcher.loop.unwatch(7), { code: 'ENOENT', syscall: 'pump_unwatch' });
});

test('an exit comes after what the loop saw before it', async () => {
  const watcher = watch();
  const [read, write] = native.pipe();
  watcher.loop.watch(1, read, pollIn);
  const pid = native.spawn({
    file: '/bin/sh',
    argv: ['sh', '-c', 'echo x >&3; sleep 0.05; exit 1'],
    env: ['PATH=/bin'],
    fds: [-1, -1, -1, write],
  });
  await watcher.exitOf(pid);
  assert.deepEqual(
    watcher.events.map(({ kind }) => kind),
    ['ready', 'exit'],
  );
});

test('what happened before a stop is reported before it returns', async () => {
  const watcher = watch();
  const [read, write] = native.pipe();
  watcher.loop.watch(1, read, pollIn);
  native.write(write, bytes('x'));
  const spin = Date.now() + 50;
  while (Date.now() < spin);
  assert.deepEqual(watcher.events, []);
  watcher.loop.stop();
  assert.equal(watcher.events.length, 1);
  await sleep(10);
  watcher.start();
  assert.equal(watcher.events.length, 1);
});

test('an output is delivered to a file, drained, reopened and finished', async () => {
  const watcher = watch();
  const [read, write] = native.pipe();
  const path = join(folder, 'log');
  watcher.loop.addOutput({ id: 10, source: read, sourceIsPty: false, sink: { kind: 'file', path } });
  native.write(write, bytes('one\n'));
  watcher.loop.drainOutput(10, 1000);
  assert.equal((await watcher.of('drained', 10)).outcome, 'delivered');
  assert.equal(readFileSync(path, 'utf8'), 'one\n');
  writeFileSync(path, '');
  watcher.loop.reopenOutput(10);
  native.write(write, bytes('two\n'));
  watcher.loop.finishOutput(10, 1000);
  native.close(write);
  assert.equal((await watcher.of('outputEnded', 10)).errno, 0);
  assert.equal(readFileSync(path, 'utf8'), 'two\n');
  assert.throws(() => watcher.loop.removeOutput(10), { code: 'ENOENT' });
});

test('every kind of sink is taken, and others are refused', async () => {
  const watcher = watch();
  const [logRead, logWrite] = native.pipe();
  const fifo = join(folder, 'out');
  native.mkfifo(fifo, 0o600);
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const sinks = [
    { kind: 'null' as const },
    { kind: 'cri' as const, path: join(folder, 'cri'), stream: 'stderr' as const, maxBytes: 0 },
    { kind: 'fd' as const, fd: logWrite },
    { kind: 'fifo' as const, path: fifo, spoolPath: join(folder, 'spool'), spoolLimitBytes: 1 << 20 },
  ];
  for (const [index, sink] of sinks.entries()) {
    const [read, write] = native.pipe();
    watcher.loop.addOutput({ id: 20 + index, source: read, sourceIsPty: false, sink });
    native.write(write, bytes('line\n'));
    native.close(write);
    assert.equal((await watcher.of('outputEnded', 20 + index)).errno, 0);
  }
  assert.match(readFileSync(join(folder, 'cri'), 'utf8'), /^\S+ stderr F line\n$/);
  const into = Buffer.alloc(16);
  assert.equal(readSync(reader, into), 5);
  assert.equal(native.read(logRead, into), 5);
  closeSync(reader);
  const [read] = native.pipe();
  const unknown = { kind: 'printer' } as unknown as { kind: 'null' };
  assert.throws(() => watcher.loop.addOutput({ id: 30, source: read, sourceIsPty: false, sink: unknown }), TypeError);
  assert.equal(existsSync(join(folder, 'spool')), false);
});

test('an input takes from a FIFO until it is closed', async () => {
  const watcher = watch();
  const [read, write] = native.pipe();
  const fifoPath = join(folder, 'in');
  native.mkfifo(fifoPath, 0o600);
  watcher.loop.addInput({ id: 40, dest: write, destIsPty: false, fifoPath });
  const writer = openSync(fifoPath, 'w');
  writeSync(writer, 'typed');
  closeSync(writer);
  const into = new Uint8Array(16);
  await until(() => native.read(read, into) === 5);
  watcher.loop.closeInput(40);
  assert.equal((await watcher.of('inputEnded', 40)).errno, 0);
  assert.equal(native.read(read, into), 0);
  assert.throws(() => watcher.loop.removeInput(40), { code: 'ENOENT' });
});

test('a client sees the output in frames, and is told from one that was removed', async () => {
  const watcher = watch();
  const [read, write] = native.pipe();
  watcher.loop.addOutput({ id: 50, source: read, sourceIsPty: false, sink: { kind: 'null' } });
  const [near, far] = native.socketPair();
  watcher.loop.addClient(51, near, 0, 50, 0);
  native.write(write, bytes('seen'));
  const into = new Uint8Array(64);
  const length = await until(() => {
    const count = native.read(far, into);
    return count >= 9 && count;
  });
  assert.deepEqual([...into.subarray(0, length)], [1, 0, 0, 0, 4, ...bytes('seen')]);
  native.close(far);
  assert.equal((await watcher.of('clientGone', 51)).reason, 'left');
  assert.throws(() => watcher.loop.removeClient(51), { code: 'ENOENT' });
});

test('a saved pump goes on in a new loop', async () => {
  const watcher = watch();
  const [read, write] = native.pipe();
  const path = join(folder, 'saved');
  watcher.loop.addOutput({ id: 60, source: read, sourceIsPty: false, sink: { kind: 'file', path } });
  assert.throws(() => watcher.loop.save(), { code: 'EBUSY' });
  native.write(write, bytes('before '));
  watcher.loop.drainOutput(60, 1000);
  await watcher.of('drained', 60);
  watcher.loop.stop();
  assert.equal(watcher.loop.isIdle(), true);
  assert.ok(watcher.loop.descriptors().includes(read));
  const state = watcher.loop.save();
  const next = new Watcher(native.createLoop(state));
  started.push(next);
  assert.equal(native.setCloseOnExec(state, true), false, 'the descriptor with the state is closed');
  native.write(write, bytes('after'));
  native.close(write);
  await next.of('outputEnded', 60);
  assert.equal(readFileSync(path, 'utf8'), 'before after');
});

test('a state that is none is refused', () => {
  const fd = native.memfd('nonsense');
  writeSync(fd, 'nonsense\n');
  assert.throws(() => native.createLoop(fd), { syscall: 'pump_load' });
  native.close(fd);
});

const programs = [
  {
    name: 'what onEvents throws is an uncaught exception, and the loop goes on',
    exitCode: 2,
    lines: [
      'let calls = 0, uncaught = 0;',
      'process.on("uncaughtException", (error) => { if (error.message === "thrown") uncaught++; });',
      'const [read, write] = native.pipe();',
      'native.write(write, new Uint8Array(1));',
      'const loop = native.createLoop();',
      'loop.start(() => {',
      '  if (++calls === 2) setImmediate(() => { loop.stop(); process.exitCode = uncaught * 2; });',
      '  loop.watch(1, read, 1);',
      '  if (calls === 1) throw new Error("thrown");',
      '});',
      'loop.watch(1, read, 1);',
    ],
  },
  {
    name: 'a process exits with a loop started',
    exitCode: 3,
    lines: ['native.createLoop().start(() => {});', 'process.exit(3);'],
  },
  {
    name: 'a started loop keeps the process alive, a stopped one does not',
    exitCode: 4,
    lines: [
      'const loop = native.createLoop();',
      'loop.start(() => {});',
      'setTimeout(() => { loop.stop(); process.exitCode = 4; }, 50).unref();',
    ],
  },
  {
    name: 'loops are garbage like any other object',
    exitCode: 5,
    lines: [
      'for (let i = 0; i < 2000; i++) {',
      '  const loop = native.createLoop();',
      '  if (i % 100 === 0) { loop.start(() => {}); loop.stop(); }',
      '}',
      'gc();',
      'setTimeout(() => { gc(); process.exitCode = require("fs").readdirSync("/proc/self/fd").length < 100 ? 5 : 1; }, 20);',
    ],
  },
  {
    name: 'a method that is called without its loop is refused',
    exitCode: 6,
    lines: [
      'const { start } = native.createLoop();',
      'try { start(() => {}); } catch (error) { process.exitCode = error instanceof TypeError ? 6 : 1; }',
    ],
  },
];

for (const { name, exitCode, lines } of programs) {
  test(name, async () => {
    const watcher = watch();
    const script = [`const native = require(${JSON.stringify(join(root, 'dist/lib/berth.node'))});`, ...lines].join(
      '\n',
    );
    const argv = ['node', '--expose-gc', '-e', script];
    const pid = native.spawn({ file: process.execPath, argv, env: [], fds: [-1, 2, 2] });
    assert.equal((await watcher.exitOf(pid)).exitCode, exitCode);
  });
}
