import { setTimeout as sleep } from 'node:timers/promises';
import pidusage from 'pidusage';
import { processSpec, sandboxIdAnnotation } from '../support/bundle.ts';
import { cpuSeconds, privateMemoryBytes } from '../support/process-tree.ts';
import { ShimClient } from '../support/shim-client.ts';
import type { Arena } from './arena.ts';
import type { Contestant } from './contestants.ts';
import type { Metric, Results } from './result.ts';
import { shimProcesses } from './throughput.ts';

const shimsSideBySide = 4;
const membersOfSandbox = 10;
const settleSeconds = 15;
const watchSeconds = 20;
const megabyte = 1e6;

const memory = (id: string, title: string, means: string): Metric => ({
  id,
  title,
  unit: 'MB',
  better: 'lower',
  means,
});

const summed =
  'Private_Clean and Private_Dirty of smaps_rollup, summed over all processes of a shim, those of containers not counted, nor memory files and what the kernel holds';

export const memoryMetrics = {
  active: memory(
    'memory-active',
    'private memory right after an exec, 1 container',
    `${summed}; ${shimsSideBySide} shims of each kind side by side, so that program text is shared as on a node`,
  ),
  resident: memory(
    'memory-resident',
    'resident memory right after an exec, 1 container',
    'the same moment, by pidusage, so with all that is shared with others',
  ),
  idle: memory(
    'memory-idle',
    'private memory idle, 1 container',
    `private memory ${settleSeconds} s after the last call`,
  ),
  idleTen: memory(
    'memory-idle-10',
    `private memory idle, ${membersOfSandbox} containers in one sandbox`,
    'the same for one shim whose containers share it by the CRI sandbox annotation; what its program text shares is shared with the shims above',
  ),
  idleCpu: {
    id: 'cpu-idle',
    title: 'CPU of an idle shim in a minute',
    unit: 'ms CPU',
    better: 'lower',
    means: `CPU time of all its processes over ${watchSeconds} s, scaled to a minute; the kernel counts in steps of 10 ms`,
  },
  wake: {
    id: 'first-call-after-idle',
    title: 'first call after idling',
    unit: 'ms',
    better: 'lower',
    means: `a State call on the open connection after ${settleSeconds + watchSeconds} s without one; a shim that sleeps has to wake up for it`,
  },
} as const satisfies Record<string, Metric>;

interface Idler {
  contestant: Contestant;
  client: ShimClient;
  kind: 'single' | 'sandbox';
}

/** All shims of all contestants idle at the same time: they cost the machine nothing, and so see the same machine. */
export async function measureMemory(
  arena: Arena,
  contestants: readonly Contestant[],
  results: Results,
  progress: (text: string) => void,
): Promise<void> {
  const idlers: Idler[] = [];
  const members: ShimClient[] = [];
  for (const contestant of contestants) {
    progress(`memory: starting shims of ${contestant.name}`);
    for (let n = 0; n < shimsSideBySide; n++) {
      idlers.push({ contestant, client: await container(arena, contestant, undefined), kind: 'single' });
    }
    const sandboxId = arena.newId(contestant);
    const first = await container(arena, contestant, sandboxId, sandboxId);
    idlers.push({ contestant, client: first, kind: 'sandbox' });
    for (let n = 1; n < membersOfSandbox; n++) members.push(await container(arena, contestant, sandboxId));
  }
  for (const { contestant, client, kind } of idlers) {
    await execTrue(client);
    if (kind === 'sandbox') continue;
    const pids = await shimProcesses(client);
    results.add(memoryMetrics.active, contestant.name, privateMegabytes(pids));
    results.add(memoryMetrics.resident, contestant.name, await residentMegabytes(pids));
  }
  const processes = new Map<Idler, number[]>();
  for (const idler of idlers) processes.set(idler, await processesOf(idler, members));
  progress(`memory: ${idlers.length} shims idle for ${settleSeconds + watchSeconds} s`);
  await sleep(settleSeconds * 1000);
  for (const [{ contestant, kind }, pids] of processes) {
    results.add(
      kind === 'single' ? memoryMetrics.idle : memoryMetrics.idleTen,
      contestant.name,
      privateMegabytes(pids),
    );
  }
  const cpuBefore = [...processes.values()].map(cpuSeconds);
  await sleep(watchSeconds * 1000);
  const cpuAfter = [...processes.values()].map(cpuSeconds);
  idlers.forEach(({ contestant }, n) => {
    const seconds = (cpuAfter[n] as number) - (cpuBefore[n] as number);
    results.add(memoryMetrics.idleCpu, contestant.name, (seconds * 1000 * 60) / watchSeconds);
  });
  for (const { contestant, client } of idlers) {
    const before = performance.now();
    await client.state();
    results.add(memoryMetrics.wake, contestant.name, performance.now() - before);
  }
  for (const client of [...members, ...idlers.map((idler) => idler.client)]) await client[Symbol.asyncDispose]();
}

async function container(
  arena: Arena,
  contestant: Contestant,
  sandboxId: string | undefined,
  ownId?: string,
): Promise<ShimClient> {
  const id = ownId ?? arena.newId(contestant);
  const annotations = sandboxId === undefined ? {} : { [sandboxIdAnnotation]: sandboxId };
  const options = arena.bundle(contestant, id, ['/bin/sleep', '3600'], { annotations });
  const client = arena.bed.track(await ShimClient.start(options));
  const { stdout, stderr } = arena.bed.stdio(id);
  await arena.create(contestant, client, { stdout, stderr });
  await client.startTask();
  return client;
}

async function execTrue(client: ShimClient): Promise<void> {
  await client.exec('once', processSpec({ args: ['/bin/true'] }));
  await client.startTask('once');
  await client.wait('once');
  await client.delete('once');
}

/** The shim's processes; for a sandbox's shim without those of any member. */
async function processesOf({ client, kind }: Idler, members: readonly ShimClient[]): Promise<number[]> {
  const own = await shimProcesses(client);
  if (kind === 'single') return own;
  const address = client.bootstrap.address;
  const inside = await Promise.all(
    members.filter((member) => member.bootstrap.address === address).map((member) => member.containerPids()),
  );
  if (inside.length !== membersOfSandbox - 1)
    throw new Error(`${client.id}: ${inside.length} containers joined its shim`);
  const others = new Set(inside.flat());
  return own.filter((pid) => !others.has(pid));
}

const privateMegabytes = (pids: readonly number[]) =>
  pids.reduce((sum, pid) => sum + privateMemoryBytes(pid), 0) / megabyte;

async function residentMegabytes(pids: readonly number[]): Promise<number> {
  const usage = await Promise.all(pids.map((pid) => pidusage(pid)));
  return usage.reduce((sum, one) => sum + one.memory, 0) / megabyte;
}
