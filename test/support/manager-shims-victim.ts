// A manager that is to be killed: starts a pod with a container, a program in it, and a shim for its pool; says what it has, and stays.
import { join } from 'node:path';
import { makeBundle, processSpec } from './bundle.ts';
import { openShims } from './manager-shims.ts';
import type { Scratch } from './scratch.ts';
import { until } from './until.ts';

const [, , scratchText = '', runtime = '', script = ''] = process.argv;
const scratch = JSON.parse(scratchText) as Scratch;
const shims = await openShims(scratch, { poolSize: 1 });
const shim = await shims.take(runtime);
const cgroupsPath = `/${scratch.mark}/${shim.info.id}`;
await shim.startSandbox({ hostname: '', netnsPath: '', annotations: {}, cgroupsPath });
const id = 'one';
const bundle = makeBundle(join(scratch.folder, 'containers'), {
  ...{ id, args: ['sh', '-c', script], rootfs: join(scratch.folder, 'rootfs'), cgroupsPath: `/${scratch.mark}/${id}` },
  annotations: { 'io.kubernetes.cri.sandbox-id': shim.info.id },
});
const logPath = join(scratch.folder, 'logs/one.log');
await shim.create({ id, bundle, rootfs: [], logPath, terminal: false, stdin: false, stdinOnce: false });
await shim.start(id);
void shim.execSync(id, {
  ...{ args: ['sleep', '602'], processSpec: processSpec({ args: [] }), timeoutMs: 0, maxOutputBytes: 10 },
});
await until('the program to run', async () => (await shim.pids(id)).length > 2);
await until('a shim in the pool', () => shims.ready === 1);
process.stdout.write(`${JSON.stringify(shim.info)}\n`);
