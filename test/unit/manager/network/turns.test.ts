import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Turns } from '../../../../src/manager/network/turns.ts';

/** Work that notes when it begins and ends. */
function worker() {
  const notes: string[] = [];
  const work = (name: string, milliseconds: number) => async () => {
    notes.push(`+${name}`);
    await sleep(milliseconds);
    notes.push(`-${name}`);
  };
  return { notes, work };
}

test('work on one pod waits for work on it, and not for others', async () => {
  const turns = new Turns();
  const { notes, work } = worker();
  await Promise.all([
    turns.shared('a', work('a1', 30)),
    turns.shared('a', work('a2', 5)),
    turns.shared('b', work('b1', 5)),
  ]);
  assert.deepEqual(notes, ['+a1', '+b1', '-b1', '-a1', '+a2', '-a2']);
});

test('work that is to be alone waits for all, and all wait for it', async () => {
  const turns = new Turns();
  const { notes, work } = worker();
  const first = turns.shared('a', work('a', 20));
  const alone = turns.alone(work('alone', 20));
  const later = turns.shared('b', work('b', 1));
  const second = turns.alone(work('alone2', 1));
  await Promise.all([first, alone, later, second]);
  assert.deepEqual(notes.slice(0, 4), ['+a', '-a', '+alone', '-alone']);
  assert.equal(notes.length, 8);
});

test('work that fails holds nobody up', async () => {
  const turns = new Turns();
  const failing = () => Promise.reject(new Error('no'));
  await assert.rejects(turns.shared('a', failing), /no/);
  await assert.rejects(turns.alone(failing), /no/);
  assert.equal(await turns.shared('a', () => Promise.resolve(7)), 7);
});
