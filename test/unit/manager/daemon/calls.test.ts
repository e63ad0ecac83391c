import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import { type CallContext, Code } from '../../../../src/grpc/index.ts';
import { Calls } from '../../../../src/manager/calls.ts';

const context = (path: string): CallContext => ({
  path,
  signal: new AbortController().signal,
  metadata: () => undefined,
});
const calls = () => new Calls({ log: pino({ level: 'silent' }), endless: new Set(['/x.Events/Subscribe']) });

test('a daemon that stops waits for the calls that run, refuses new ones, and does not wait for streams', async () => {
  const running = calls();
  const end = running.observe(context('/x.Y/Call'), {});
  running.observe(context('/x.Events/Subscribe'), {});
  let left: number | undefined;
  const finishing = running.finish(5000).then((count) => (left = count));
  assert.throws(() => running.observe(context('/x.Y/Call'), {}), { code: Code.Unavailable });
  await new Promise((next) => setTimeout(next, 20));
  assert.equal(left, undefined);
  end(undefined);
  assert.equal(await finishing, 0);
});

test('it does not wait longer than it may', async () => {
  const running = calls();
  running.observe(context('/x.Y/Call'), {});
  assert.equal(await running.finish(10), 1);
  assert.equal(await calls().finish(10_000), 0);
});
