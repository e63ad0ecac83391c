// Runs berthd and berthctl once in temporary folders: the code that this compiles is in dist/lib/*.cache then, for all starts that
// follow. Where berthd cannot run (it needs root to serve), it is only asked for its configuration, and less is kept.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GrpcClient } from '../src/grpc/index.ts';
import { cri } from '../src/wire/index.ts';

const root = join(import.meta.dirname, '..');
const timeoutMs = 10_000;
const folder = mkdtempSync(join(tmpdir(), 'bw-'));
const socket = join(folder, 'state/berth.sock');

const program = (name) => join(root, 'dist/bin', name);
const cache = (name) => join(root, `dist/lib/${name}.cache`);
const environment = (name) => ({ ...process.env, BERTH_WRITE_CODE_CACHE: cache(name) });

function runDaemon() {
  const config = join(folder, 'config.toml');
  mkdirSync(join(folder, 'cni'));
  writeFileSync(config, '[shims]\npool_size = 0\n');
  const args = ['--config', config, '--root', join(folder, 'root'), '--state', join(folder, 'state')];
  args.push('--cni-conf-dir', join(folder, 'cni'));
  const child = spawn(program('berthd'), args, { env: environment('berthd'), stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  return { child, ended };
}

/** What kubelet asks all the time. */
async function ask(client) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      await client.call(cri.RuntimeService, 'Version', {}, { timeoutMs: 1000 });
      break;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((next) => setTimeout(next, 50));
    }
  }
  await client.call(cri.RuntimeService, 'Status', { verbose: true }, { timeoutMs });
  await client.call(cri.RuntimeService, 'ListPodSandbox', {}, { timeoutMs });
  await client.call(cri.RuntimeService, 'ListContainers', {}, { timeoutMs });
  await client.call(cri.ImageService, 'ListImages', {}, { timeoutMs });
}

async function live() {
  const { child, ended } = runDaemon();
  const client = new GrpcClient(socket);
  try {
    await Promise.race([
      ask(client),
      ended.then((code) => {
        throw new Error(`it ended with exit code ${code}`);
      }),
    ]);
    spawnSync(program('berthctl'), ['ps'], {
      env: { ...environment('berthctl'), CONTAINER_RUNTIME_ENDPOINT: `unix://${socket}` },
      timeout: timeoutMs,
      stdio: 'ignore',
    });
  } finally {
    client.close();
    child.kill('SIGTERM');
    const kill = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    await ended;
    clearTimeout(kill);
  }
}

for (const name of ['berthd', 'berthctl']) rmSync(cache(name), { force: true });
try {
  if (process.getuid() === 0) await live();
} catch (error) {
  console.error(`warm-up: berthd does not serve here (${error.message}); the build goes on`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const less = { berthd: ['config', 'dump'], berthctl: ['--help'] };
for (const [name, args] of Object.entries(less)) {
  if (existsSync(cache(name))) continue;
  const { status, stderr } = spawnSync(program(name), args, { env: environment(name), encoding: 'utf8' });
  if (status !== 0) throw new Error(`${name}, which was just built, does not start: ${stderr}`);
}
