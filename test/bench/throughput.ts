import { spawn } from 'node:child_process';
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import pidusage from 'pidusage';
import { FifoReader, makeFifos } from '../support/fifo.ts';
import { processTree } from '../support/process-tree.ts';
import { ShimClient } from '../support/shim-client.ts';
import type { Arena } from './arena.ts';
import type { Contestant } from './contestants.ts';
import type { Metric, Results } from './result.ts';

const floodBytes = 512 * 1024 * 1024;
const roundsLimit = 5;
const megabyte = 1e6;

const higher = (id: string, title: string, means: string): Metric => ({
  id,
  title,
  unit: 'MB/s',
  better: 'higher',
  means,
});

/** A file system in memory of this run's own (see main.ts): a disk's moods would hide the shims' differences. */
const logFolder = '/run';

const written = `a container that writes ${floodBytes / 1024 / 1024} MiB in lines of 128 bytes, 64 KiB at a time`;

export const throughputMetrics = {
  fifo: higher(
    'throughput-fifo',
    'stdout to a FIFO',
    `${written}; a reader that only reads, from its first byte to its last`,
  ),
  file: higher(
    'throughput-file',
    'stdout to file://',
    `${written}; a file in memory; from the end of Start until Delete has answered and the file has it all`,
  ),
  cri: higher(
    'throughput-cri',
    'stdout to cri://',
    'as to file://, with a time stamp and tags before each line (bytes of the container are counted); only our shim has it',
  ),
  cpu: {
    id: 'throughput-cpu',
    title: 'CPU of the shim for 1 GB to a FIFO',
    unit: 'ms CPU',
    better: 'lower',
    means: 'CPU time of all processes of the shim for it, by pidusage',
  },
} as const satisfies Record<string, Metric>;

/** No shim at all: what this machine moves from a process through a FIFO to the same reader, and from a process to a file. */
export const plain = 'no shim';

export async function measureThroughput(
  arena: Arena,
  contestants: readonly Contestant[],
  rounds: number,
  results: Results,
  progress: (text: string) => void,
): Promise<void> {
  const count = Math.min(rounds, roundsLimit);
  for (let round = 0; round < count; round++) {
    progress(`throughput, round ${round + 1} of ${count}`);
    await plainFifo(arena, results);
    await plainFile(arena, results);
    for (let turn = 0; turn < contestants.length; turn++) {
      const contestant = contestants[(round + turn) % contestants.length] as Contestant;
      await throughFifo(arena, contestant, results);
      await intoFile(arena, contestant, 'file', throughputMetrics.file, results);
      if (contestant.name.startsWith('berth')) await intoFile(arena, contestant, 'cri', throughputMetrics.cri, results);
    }
  }
}

const flood = ['flood', String(floodBytes)];

async function plainFifo(arena: Arena, results: Results): Promise<void> {
  const path = arena.bed.path('plain.fifo');
  makeFifos(path);
  const drained = drain(arena, path);
  const writer = spawn('sh', ['-c', `exec "$0" "$@" > ${path}`, arena.probe, ...flood], { stdio: 'ignore' });
  await ended(writer);
  results.add(throughputMetrics.fifo, plain, await drained);
  rmSync(path);
}

async function plainFile(arena: Arena, results: Results): Promise<void> {
  const path = join(logFolder, 'plain.log');
  const fd = openSync(path, 'a');
  const began = performance.now();
  await ended(spawn(arena.probe, flood, { stdio: ['ignore', fd, 'ignore'] }));
  results.add(throughputMetrics.file, plain, rate(performance.now() - began));
  closeSync(fd);
  rmSync(path);
}

async function throughFifo(arena: Arena, contestant: Contestant, results: Results): Promise<void> {
  const id = arena.newId(contestant);
  const client = arena.bed.track(await ShimClient.start(arena.bundle(contestant, id, ['/bin/probe', ...flood])));
  const [path, stderr] = [arena.bed.path(`${id}.out`), arena.bed.path(`${id}.err`)];
  makeFifos(path, stderr);
  const errors = new FifoReader(stderr);
  const drained = drain(arena, path);
  drained.catch(() => undefined); // a call that fails before tells more
  await arena.create(contestant, client, { stdout: path, stderr });
  const shim = await shimProcesses(client);
  const cpuBefore = await cpuMilliseconds(shim);
  await client.startTask();
  results.add(throughputMetrics.fifo, contestant.name, await drained);
  await client.wait();
  const cpuPerGigabyte = (((await cpuMilliseconds(shim)) - cpuBefore) * 1e9) / floodBytes;
  results.add(throughputMetrics.cpu, contestant.name, cpuPerGigabyte);
  await finish(client);
  errors.close();
  rmSync(path);
}

async function intoFile(
  arena: Arena,
  contestant: Contestant,
  scheme: string,
  metric: Metric,
  results: Results,
): Promise<void> {
  const id = arena.newId(contestant);
  const client = arena.bed.track(await ShimClient.start(arena.bundle(contestant, id, ['/bin/probe', ...flood])));
  const path = join(logFolder, `${id}.log`);
  closeSync(openSync(path, 'a', 0o644)); // containerd makes the file
  const uri = `${scheme}://${path}`;
  await arena.create(contestant, client, { stdout: uri, stderr: uri });
  await client.startTask();
  const began = performance.now();
  await client.wait();
  await client.delete(); // a shim that answers Wait before the output is all there has it there by then
  const milliseconds = performance.now() - began;
  const { size } = statSync(path);
  if (size < floodBytes) throw new Error(`${contestant.name}: only ${size} of ${floodBytes} bytes are in ${path}`);
  results.add(metric, contestant.name, rate(milliseconds));
  await client.shutdown();
  client.disconnect();
  rmSync(path);
}

async function finish(client: ShimClient): Promise<void> {
  await client.delete();
  await client.shutdown();
  client.disconnect();
}

const rate = (milliseconds: number) => floodBytes / megabyte / (milliseconds / 1000);

/** Starts to read a FIFO in a process of its own; gives MB/s. */
async function drain(arena: Arena, path: string): Promise<number> {
  const reader = spawn(arena.probe, ['drain', path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const pieces: Buffer[] = [];
  reader.stdout.on('data', (bytes: Buffer) => pieces.push(bytes));
  await ended(reader);
  const [bytes = 0, nanoseconds = 0] = Buffer.concat(pieces).toString().split(' ').map(Number);
  if (bytes !== floodBytes) throw new Error(`${bytes} of ${floodBytes} bytes came through ${path}`);
  return rate(nanoseconds / 1e6);
}

async function ended(child: ReturnType<typeof spawn>): Promise<void> {
  const code = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (code !== 0) throw new Error(`${child.spawnargs.join(' ')}: ended with ${String(code)}`);
}

/** The shim's processes, its container's not counted. */
export async function shimProcesses(client: ShimClient): Promise<number[]> {
  return processTree(await client.shimPid(), new Set(await client.containerPids()));
}

async function cpuMilliseconds(pids: readonly number[]): Promise<number> {
  const usage = await Promise.all(pids.map((pid) => pidusage(pid)));
  return usage.reduce((sum, { ctime }) => sum + ctime, 0);
}
