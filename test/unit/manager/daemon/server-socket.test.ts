import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { isAuthorized, ownerOf, placeSocket } from '../../../../src/manager/server-socket.ts';
import { Running } from '../../../support/running.ts';
import { native } from '../../linux/addon.ts';
import { temporaryFolder } from '../temporary-folder.ts';

async function listen(path: string, take: (socket: Socket) => void = (socket) => socket.end()): Promise<Server> {
  const server = createServer(take).listen(path);
  await once(server, 'listening');
  return server;
}

test('a socket appears with its mode, in a folder that can be passed but not listed, and goes when it is removed', async (t) => {
  const folder = join(temporaryFolder(t), 'run');
  const path = join(folder, 'a.sock');
  const modes: number[] = [];
  const placed = await placeSocket(path, async (temporary) => {
    const server = await listen(temporary);
    modes.push(statSync(temporary).mode & 0o777);
    assert.ok(!existsSync(path));
    return server;
  });
  assert.deepEqual([statSync(folder).mode & 0o777, statSync(path).mode & 0o777, modes], [0o711, 0o660, [0o600]]);
  assert.deepEqual(readdirSync(folder), ['a.sock']);
  await once(connect(path), 'connect');
  placed.remove();
  assert.deepEqual(readdirSync(folder), []);
});

test('a socket that a killed process has left is replaced, as is what it had not yet named', async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, 'a.sock');
  const script = `for (const p of process.argv.slice(1)) require('net').createServer().listen(p, () => console.log(p))`;
  const temporary = join(folder, '.berth-4194305-1');
  const dead = new Running(process.execPath, ['-e', script, path, temporary]);
  await dead.says(temporary);
  await dead.kill('SIGKILL');
  const placed = await placeSocket(path, listen);
  assert.deepEqual(readdirSync(folder), ['a.sock']);
  placed.remove();
});

test('a socket that somebody answers is left alone, as is a file that is none', async (t) => {
  const folder = temporaryFolder(t);
  const other = await listen(join(folder, 'a.sock'));
  await assert.rejects(placeSocket(join(folder, 'a.sock'), listen), /somebody listens on/);
  await once(connect(join(folder, 'a.sock')), 'connect');
  other.close();
  writeFileSync(join(folder, 'b.sock'), 'precious');
  await assert.rejects(placeSocket(join(folder, 'b.sock'), listen), /is no socket/);
});

test('removing does not take the file of a successor', async (t) => {
  const path = join(temporaryFolder(t), 'a.sock');
  const first = await placeSocket(path, listen);
  first.server.close();
  const second = await placeSocket(path, listen);
  first.remove();
  assert.ok(existsSync(path));
  second.remove();
});

test('a path that no unix socket can have is refused', async (t) => {
  const path = join(temporaryFolder(t), 'x'.repeat(100));
  await assert.rejects(placeSocket(path, listen), /too long/);
});

test("the peer's owner is known, and root is let in", async (t) => {
  const path = join(temporaryFolder(t), 'a.sock');
  const owners: unknown[] = [];
  const placed = await placeSocket(path, (temporary) =>
    listen(temporary, (socket) => {
      owners.push(ownerOf(socket, native), isAuthorized(socket, native));
      socket.destroy();
      owners.push(isAuthorized(socket, native));
      assert.throws(() => ownerOf(socket, native), /closed/);
    }),
  );
  await once(connect(path).resume(), 'close');
  const [uid, gid] = [process.getuid?.(), process.getgid?.()];
  assert.deepEqual(owners, [{ pid: process.pid, uid, gid }, uid === 0, false]);
  assert.equal(
    isAuthorized({ _handle: { fd: 1 } } as unknown as Socket, {
      peerCredentials: () => ({ pid: 1, uid: 1000, gid: 0 }),
    }),
    false,
  );
  placed.remove();
});
