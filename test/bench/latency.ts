import { processSpec } from '../support/bundle.ts';
import { nowUnixNanos } from '../support/events-sink.ts';
import { until } from '../support/until.ts';
import { ShimClient } from '../support/shim-client.ts';
import { events } from '../../src/wire/index.ts';
import type { Arena } from './arena.ts';
import type { Contestant } from './contestants.ts';
import type { Metric, Results } from './result.ts';

const sigterm = 15;
const execsPerRound = 3;

const lower = (id: string, title: string, means: string): Metric => ({ id, title, unit: 'ms', better: 'lower', means });

export const latencyMetrics = {
  shimStart: lower(
    'shim-start',
    'shim start',
    'the `start` command until it has ended, and a connection to the address it gave',
  ),
  create: lower('create', 'create', "the Create call, with the OCI runtime's `create` in it"),
  start: lower('start', 'start', "the Start call, with the OCI runtime's `start` in it"),
  sum: lower('start-to-running', 'shim start + create + start', 'the three above, of each round'),
  firstOutput: lower(
    'first-output',
    'from nothing to first output',
    'from the call of `start` to the first byte that a client reads from the FIFO',
  ),
  exec: lower('exec', 'exec', 'the calls Exec, Start and Wait for `/bin/true` in a running container'),
  exitEvent: lower(
    'exit-event',
    'exit to event',
    "from the time that init takes right before it ends to the exit event's arrival where events go",
  ),
  delete: lower('delete', 'delete', 'the Delete call for a container that has ended'),
} as const;

/** Rounds of a container's life, the contestants taking turns, and taking turns at being first. */
export async function measureLatency(
  arena: Arena,
  contestants: readonly Contestant[],
  rounds: number,
  results: Results,
  progress: (text: string) => void,
): Promise<void> {
  for (const contestant of contestants) await oneLife(arena, contestant, undefined);
  for (let round = 0; round < rounds; round++) {
    progress(`latency, round ${round + 1} of ${rounds}`);
    for (let turn = 0; turn < contestants.length; turn++) {
      const contestant = contestants[(round + turn) % contestants.length] as Contestant;
      await oneLife(arena, contestant, results);
    }
  }
}

/** @param results undefined for a life that is not counted: it warms caches */
async function oneLife(arena: Arena, contestant: Contestant, results: Results | undefined): Promise<void> {
  const add = (metric: Metric, milliseconds: number) => results?.add(metric, contestant.name, milliseconds);
  const id = arena.newId(contestant);
  const options = arena.bundle(contestant, id, ['/bin/probe', 'announce']);
  const { output, errors, stdout, stderr } = arena.bed.stdio(id);

  const began = performance.now();
  const client = arena.bed.track(await ShimClient.start(options));
  const connected = performance.now();
  await arena.create(contestant, client, { stdout, stderr });
  const created = performance.now();
  await client.startTask();
  const started = performance.now();
  await output.waitFor('ready\n');
  add(latencyMetrics.shimStart, connected - began);
  add(latencyMetrics.create, created - connected);
  add(latencyMetrics.start, started - created);
  add(latencyMetrics.sum, started - began);
  add(latencyMetrics.firstOutput, (output.firstByteAt ?? NaN) - began);

  for (let n = 0; n < execsPerRound; n++) {
    const execId = `exec-${n}`;
    const before = performance.now();
    await client.exec(execId, processSpec({ args: ['/bin/true'] }));
    await client.startTask(execId);
    await client.wait(execId);
    add(latencyMetrics.exec, performance.now() - before);
    await client.delete(execId);
  }

  const exit = arena.bed.sink.nextOf('/tasks/exit', events.TaskExit, (event) => event.id === id);
  await client.kill(sigterm);
  const { received } = await exit;
  await output.waitFor('ready\n');
  const toldAt = await until('the time that init wrote', () => /ready\n(\d+)\n/.exec(output.text)?.[1]);
  add(latencyMetrics.exitEvent, Number(received.receivedUnixNanos - BigInt(toldAt)) / 1e6);

  await client.wait();
  const beforeDelete = performance.now();
  await client.delete();
  add(latencyMetrics.delete, performance.now() - beforeDelete);
  await client.shutdown();
  client.disconnect();
  output.close();
  errors.close();
}

/** How far this process's clock for events is off from the containers' clock, milliseconds: they should be one. */
export function clockSkewMilliseconds(): number {
  return Number(nowUnixNanos() / 1000n) / 1000 - Date.now();
}
