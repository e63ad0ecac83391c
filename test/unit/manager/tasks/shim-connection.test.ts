import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Code, isRpcError } from '../../../../src/grpc/index.ts';
import { ShimConnection } from '../../../../src/manager/tasks/shim-connection.ts';
import { listen, Server, TtrpcError } from '../../../../src/ttrpc/index.ts';
import { taskV3 } from '../../../../src/wire/index.ts';
import { quietLogger } from '../../../support/quiet-logger.ts';
import { newScratch } from '../../../support/scratch.ts';
import { until } from '../../../support/until.ts';

/** A shim's socket and what is behind it, without a shim. */
async function connected(t: TestContext) {
  const { folder } = newScratch();
  const path = join(folder, 'shim.sock');
  const server = new Server({ logger: quietLogger });
  const never = new Promise<never>(() => undefined);
  server.register(taskV3, {
    Connect: () => ({ shimPid: 7 }),
    Wait: () => never,
    Start: () => {
      throw new TtrpcError(Code.FailedPrecondition, 'it runs already');
    },
  });
  const sockets = await listen(path, (transport) => void server.accept(transport));
  t.after(() => {
    sockets.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
  const connection = await ShimConnection.open(`unix://${path}`, { name: 'web', namespace: 'test', timeoutMs: 1000 });
  t.after(() => connection.close());
  const pid = async () => (await connection.call(taskV3, 'Connect', { id: 'web' }, { timeoutMs: 1000 })).shimPid;
  return { connection, server, sockets, pid };
}

const has = (code: Code) => (error: unknown) => isRpcError(error, code);

test('a connection that breaks is made anew while the shim lives', async (t) => {
  const { connection, server, pid } = await connected(t);
  assert.equal(await pid(), 7);
  const waiting = connection.call(taskV3, 'Wait', { id: 'web' }, { timeoutMs: undefined });
  const lost = assert.rejects(waiting, has(Code.Unavailable));
  server.close();
  await lost;
  assert.equal(await pid(), 7);
  assert.ok(connection.isOpen);
});

test('a shim that refuses whoever comes back is gone', async (t) => {
  const { connection, server, pid } = await connected(t);
  server.close();
  await until('the second connection', () => server.connections.size === 1);
  server.close();
  assert.match(await connection.whenGone, /closed/);
  await assert.rejects(pid(), has(Code.Unavailable));
});

test('a shim that nobody finds any more is gone', async (t) => {
  const { connection, server, sockets, pid } = await connected(t);
  sockets.close();
  server.close();
  await connection.whenGone;
  assert.ok(!connection.isOpen);
  await assert.rejects(pid(), has(Code.Unavailable));
});

test('failures have the code of the shim, and say which call and which sandbox', async (t) => {
  const { connection } = await connected(t);
  await assert.rejects(
    connection.call(taskV3, 'Start', { id: 'one' }, { timeoutMs: 1000, about: 'container "one"' }),
    (error: unknown) =>
      isRpcError(error, Code.FailedPrecondition) &&
      error.message === 'Start of container "one" in the shim of sandbox web: it runs already',
  );
  await assert.rejects(connection.call(taskV3, 'Wait', {}, { timeoutMs: 20 }), has(Code.DeadlineExceeded));
  await assert.rejects(
    connection.call(taskV3, 'Wait', {}, { timeoutMs: undefined, signal: AbortSignal.timeout(20) }),
    has(Code.Cancelled),
  );
});

test('an address where nobody listens is UNAVAILABLE', async () => {
  const o = { name: 'web', namespace: 'test', timeoutMs: 1000 };
  await assert.rejects(ShimConnection.open('unix:///nowhere/s', o), has(Code.Unavailable));
  await assert.rejects(ShimConnection.open('tcp:1', o), has(Code.InvalidArgument));
});
