import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { ShimPool } from '../../../../src/manager/tasks/shim-pool.ts';
import { until } from '../../../support/until.ts';

/** A pool of numbers, each of which takes that long to start. */
function poolOf(size: number, startMs = 0) {
  const state = { started: 0, starting: 0, most: 0, discarded: [] as number[], sick: new Set<number>() };
  const pool = new ShimPool<number>({
    size,
    isWell: (one) => !state.sick.has(one),
    start: async (signal) => {
      state.most = Math.max(state.most, ++state.starting);
      try {
        await sleep(startMs, undefined, { signal });
        return ++state.started;
      } finally {
        state.starting--;
      }
    },
    discard: (one) => {
      state.discarded.push(one);
      return Promise.resolve();
    },
    log: pino({ level: 'silent' }),
  });
  return { pool, state };
}

test('a pool fills up, one at a time, and again after each that is taken', async () => {
  const { pool, state } = poolOf(3);
  await until('three', () => pool.ready === 3);
  assert.equal(await pool.take(), 1);
  await until('three again', () => pool.ready === 3);
  await sleep(400);
  assert.equal(await pool.take(), 2);
  assert.equal(await pool.take(), 3);
  await until('three once more', () => pool.ready === 3);
  assert.deepEqual([state.most, state.started], [1, 6]);
  await pool.close();
  assert.deepEqual(state.discarded, [4, 5, 6]);
});

test('who comes while one is being started gets it; who comes then gets none', async () => {
  const { pool, state } = poolOf(1, 200);
  await until('one to be started', () => state.starting === 1);
  assert.deepEqual(await Promise.all([pool.take(), pool.take()]), [1, undefined]);
  await pool.close();
});

test('one that is not well is not handed out', async () => {
  const { pool, state } = poolOf(2);
  await until('two', () => pool.ready === 2);
  state.sick.add(1);
  assert.equal(await pool.take(), 2);
  assert.deepEqual(state.discarded, [1]);
  await pool.close();
});

test('an empty pool has nothing, and starts nothing', async () => {
  const { pool, state } = poolOf(0);
  assert.equal(await pool.take(), undefined);
  await sleep(350);
  assert.equal(state.started, 0);
  await pool.close();
});

test('closing does not wait for one that is being started', async () => {
  const { pool, state } = poolOf(1, 60_000);
  await until('one to be started', () => state.starting === 1);
  await pool.close();
  assert.deepEqual([state.starting, state.started], [0, 0]);
});
