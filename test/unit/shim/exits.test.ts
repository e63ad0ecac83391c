import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ChildExit } from '../../../src/linux/index.ts';
import { Exits } from '../../../src/shim/exits.ts';

const ended = (pid: number, atNanoseconds: bigint): ChildExit => ({ pid, exitCode: 0, signal: 0, atNanoseconds });

test('the exit that has woken a shim has the time at which it was noticed, and no other has', () => {
  const exits = new Exits({ pid: 2, at: 100n });
  const times: bigint[] = [];
  for (const pid of [1, 2]) exits.on(pid, ({ atNanoseconds }) => times.push(atNanoseconds));
  exits.handle(ended(1, 150n));
  exits.handle(ended(2, 160n));
  assert.deepEqual(times, [150n, 100n]);
});

test('an exit that nobody claims is kept while a runtime may be about to tell its pid', () => {
  const exits = new Exits();
  const expected = exits.expect();
  exits.handle(ended(7, 1n));
  let at: bigint | undefined;
  expected.on(7, ({ atNanoseconds }) => (at = atNanoseconds));
  expected.end();
  assert.equal(at, 1n);
});
