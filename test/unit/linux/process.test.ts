import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  childProcesses,
  isSystemError,
  parseProcessStatus,
  privateMemoryKilobytes,
  readProcessStatus,
} from '../../../src/linux/index.ts';
import { native } from './addon.ts';

test('a status is read, whatever the name of the process holds', () => {
  const rest = 'S 1 4321 4320 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456789012 1 1';
  assert.deepEqual(parseProcessStatus(`4321 (a (b) c) ${rest}`), {
    pid: 4321,
    name: 'a (b) c',
    state: 'S',
    parentPid: 1,
    processGroup: 4321,
    session: 4320,
    startTicks: 123456789012n,
  });
  assert.throws(() => parseProcessStatus('4321 (cut'), SyntaxError);
});

test("this process's status is its own, and that of no process is undefined", () => {
  const own = readProcessStatus(process.pid);
  assert.deepEqual([own?.pid, own?.parentPid], [process.pid, process.ppid]);
  assert.equal(readProcessStatus(2 ** 22 + 1), undefined);
});

test('children are listed until they are collected', () => {
  const pid = native.spawn({ file: '/bin/true', argv: ['true'], env: [], fds: [] });
  assert.deepEqual(childProcesses(), [pid]);
  while (readProcessStatus(pid)?.state !== 'Z');
  assert.deepEqual(childProcesses(), [pid]);
  native.createLoop().collect(pid);
  assert.deepEqual(childProcesses(), []);
});

test('private memory is that of smaps_rollup', () => {
  const { dirty = 0 } = privateMemoryKilobytes() ?? {};
  assert.ok(dirty > 1000 && dirty < 1_000_000);
  assert.equal(privateMemoryKilobytes(2 ** 22 + 1), undefined);
});

test('system errors are told by their code', () => {
  const failing = (): void => native.close(987654);
  try {
    failing();
    assert.fail('it closed');
  } catch (error) {
    assert.equal(isSystemError(error, 'ENOENT'), false);
    assert.ok(isSystemError(error, 'ENOENT', 'EBADF'));
    assert.deepEqual([error.code, error.errno, error.syscall, error.path], ['EBADF', 9, 'close', undefined]);
    assert.equal(error.message, 'close: Bad file descriptor');
  }
  assert.equal(isSystemError(new Error('other')), false);
  assert.equal(isSystemError({ code: 'EBADF', syscall: 'close' }), false);
});
