// Runs a shim once, from start to shutdown, without a container: its compiled code is in dist/lib/cache then, for all that follow.
// Needs no root.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, connect } from '../src/ttrpc/index.ts';
import { sandboxV1, taskV3 } from '../src/wire/index.ts';

const root = join(import.meta.dirname, '..');
const shim = join(root, 'dist/bin/containerd-shim-berth-v2');
const folder = mkdtempSync(join(tmpdir(), 'bw-'));
const timeoutMs = 10_000;

rmSync(join(root, 'dist/lib/cache'), { recursive: true, force: true });
try {
  writeFileSync(join(folder, 'config.json'), '{"ociVersion":"1.0.2"}');
  const args = ['-namespace', 'build', '-id', 'warm-up', '-address', join(folder, 'none'), 'start'];
  const { status, stdout, stderr } = spawnSync(shim, args, {
    cwd: folder,
    env: { ...process.env, SHIM_SOCKET_DIR: folder, MAX_SHIM_VERSION: '', TTRPC_ADDRESS: '' },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the shim that was just built does not start: ${stderr}`);
  const client = new Client(await connect(stdout.trim().replace('unix://', ''), { timeoutMs }));
  const { shimPid } = await client.call(taskV3, 'Connect', { id: 'warm-up' }, { timeoutMs });
  await client.call(taskV3, 'State', { id: 'warm-up' }, { timeoutMs }).catch(() => undefined);
  await client.call(sandboxV1, 'Platform', {}, { timeoutMs });
  await client.call(taskV3, 'Shutdown', { id: 'warm-up' }, { timeoutMs });
  client.close();
  for (let waited = 0; isAlive(shimPid) && waited < timeoutMs; waited += 10) await new Promise((done) => setTimeout(done, 10));
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
