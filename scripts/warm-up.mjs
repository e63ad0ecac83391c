// Runs a shim once, from start to shutdown: the code that this compiles is in dist/lib/shim.cache then, for all that follow. The
// container's OCI runtime is a stand-in of a few lines, so this needs neither root nor anything installed.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, connect } from '../src/ttrpc/index.ts';
import { packJson, ociType, packAny, runc, sandboxV1, taskV3 } from '../src/wire/index.ts';

const root = join(import.meta.dirname, '..');
const shim = join(root, 'dist/bin/containerd-shim-berth-v2');
const cache = join(root, 'dist/lib/shim.cache');
const folder = mkdtempSync(join(tmpdir(), 'bw-'));
const timeoutMs = 10_000;
const id = 'warm-up';

const standIn = `#!/bin/sh
# create and exec: a process whose pid goes where --pid-file says; all else succeeds.
while [ $# -gt 0 ]; do
  case $1 in
    --pid-file) pidfile=$2; shift ;;
    create|exec) command=$1 ;;
  esac
  shift
done
case $command in
  create) sleep 60 & ;;
  # It ends after this shell, which would else collect it, and the shim would never hear of its end.
  exec) sh -c 'while [ -d /proc/$0 ]; do sleep 0.01; done' $$ & ;;
  *) exit 0 ;;
esac
echo $! > "$pidfile"
`;

function startShim() {
  const args = ['-namespace', 'build', '-id', id, '-address', join(folder, 'none'), 'start'];
  const env = {
    ...process.env,
    SHIM_SOCKET_DIR: folder,
    MAX_SHIM_VERSION: '',
    TTRPC_ADDRESS: join(folder, 'none'),
    BERTH_WRITE_CODE_CACHE: cache,
  };
  const { status, stdout, stderr } = spawnSync(shim, args, { cwd: folder, env, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the shim that was just built does not start: ${stderr}`);
  return stdout.trim().replace('unix://', '');
}

/** One container's life. Returns the shim's pid. */
async function live(client) {
  const call = (method, request) => client.call(taskV3, method, { id, ...request }, { timeoutMs });
  const files = { stdout: `file://${folder}/out`, stderr: `file://${folder}/err` };
  const options = packAny(runc.Options, { binaryName: join(folder, 'runtime'), root: folder });
  await call('Create', { bundle: folder, ...files, options });
  await call('Start', {});
  await call('State', {});
  const { shimPid } = await call('Connect', {});
  await call('Exec', { execId: 'one', ...files, spec: packJson(ociType.process, { args: ['true'], cwd: '/' }) });
  await call('Start', { execId: 'one' });
  await call('Wait', { execId: 'one' });
  await call('Delete', { execId: 'one' });
  await call('Kill', { signal: 9 });
  await call('Wait', {});
  await call('Delete', {});
  await client.call(sandboxV1, 'Platform', {}, { timeoutMs });
  return shimPid;
}

rmSync(cache, { force: true });
try {
  writeFileSync(join(folder, 'config.json'), '{"ociVersion":"1.0.2","linux":{"namespaces":[{"type":"pid"}]}}');
  writeFileSync(join(folder, 'runtime'), standIn, { mode: 0o755 });
  const client = new Client(await connect(startShim(), { timeoutMs }));
  let shimPid = 0;
  try {
    shimPid = await live(client);
  } finally {
    await client.call(taskV3, 'Shutdown', { id }, { timeoutMs });
    client.close();
  }
  // It writes what it has compiled when it ends.
  for (let waited = 0; isAlive(shimPid) && waited < timeoutMs; waited += 10)
    await new Promise((done) => setTimeout(done, 10));
  if (!existsSync(cache)) throw new Error('the shim has left no compiled code behind');
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
