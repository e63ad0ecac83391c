/**
 * Our shim and containerd's side by side, in one run, with the same bundle and the same OCI runtime.
 *
 *   --rounds N          lives of a container for each contestant; default 30
 *   --only A,B          of latency, memory, throughput; default all
 *   --shims A,B         of the names in contestants.ts, or paths of other shims; default all that are known
 *   --output json       machine-readable
 *   --write             put the tables into docs/benchmarks.md
 *
 * It runs in a mount namespace of its own, with an empty /run and without a cgroup2 mount beside cgroup v1 (which crun refuses): the
 * same for every contestant.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import pidusage from 'pidusage';
import { Arena } from './arena.ts';
import { chooseContestants, compared, knownNames, reference } from './contestants.ts';
import { writeBetween } from './document.ts';
import { latencyMetrics, measureLatency } from './latency.ts';
import { describeMachine } from './machine.ts';
import { measureMemory, memoryMetrics } from './memory.ts';
import { report } from './report.ts';
import { type Metric, Results } from './result.ts';
import { measureThroughput, plain, throughputMetrics } from './throughput.ts';

const groups = { latency: latencyMetrics, memory: memoryMetrics, throughput: throughputMetrics } as const;
type Group = keyof typeof groups;

const insideMark = 'BERTH_BENCH_INSIDE';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '30' },
    only: { type: 'string', default: Object.keys(groups).join(',') },
    shims: { type: 'string', default: knownNames.join(',') },
    output: { type: 'string', default: 'text' },
    write: { type: 'boolean', default: false },
  },
});

/** The same program again, in namespaces of its own; gives its exit code. */
function runApart(): number {
  const hybrid = '/sys/fs/cgroup/unified';
  const script = [
    'mount -t tmpfs -o mode=755 berth-bench /run',
    // What crun makes where the cgroup2 mount was goes into a file system that vanishes with this run.
    `if mountpoint -q ${hybrid}; then umount ${hybrid}; mount -t tmpfs berth-bench ${hybrid}; fi`,
    'exec "$0" "$@"',
  ].join(' && ');
  const args = ['--mount', 'sh', '-c', script, process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const { status, error } = spawnSync('unshare', args, {
    stdio: 'inherit',
    env: { ...process.env, [insideMark]: '1' },
  });
  if (error) throw error;
  return status ?? 1;
}

async function bench(): Promise<void> {
  const rounds = Number(options.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds ${options.rounds}: give a number of 1 or more`);
  const chosen = options.only.split(',');
  const unknown = chosen.filter((name) => !(name in groups));
  if (unknown.length) throw new Error(`--only ${unknown.join(',')}: there are ${Object.keys(groups).join(', ')}`);
  const contestants = chooseContestants(options.shims.split(','));
  const results = new Results();
  const progress = (text: string) => process.stderr.write(`${text}\n`);
  const arena = await Arena.open();
  const stop = (): void => void arena.close().finally(() => process.exit(130));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    const runs: Record<Group, () => Promise<void>> = {
      latency: () => measureLatency(arena, contestants, rounds, results, progress),
      memory: () => measureMemory(arena, contestants, results, progress),
      throughput: () => measureThroughput(arena, contestants, rounds, results, progress),
    };
    for (const name of chosen) await runs[name as Group]();
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    pidusage.clear();
    await arena.close();
  }

  const metrics: Metric[] = chosen.flatMap((name) => Object.values(groups[name as Group]));
  const machine = describeMachine(contestants);
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`.replace(/ -- $/, '');
  const columns = { names: contestants.map(({ name }) => name), compared, reference, beside: plain };
  const text = report(metrics, columns, results);
  const date = new Date().toISOString().slice(0, 10);
  if (options.output === 'json') {
    const values = metrics.map(({ id, unit, better }) => {
      const entries = [...contestants.map(({ name }) => name), 'no shim'].map((name) => [
        name,
        results.summary({ id } as Metric, name),
      ]);
      return { id, unit, better, contestants: Object.fromEntries(entries) as unknown };
    });
    console.log(JSON.stringify({ date, command, machine, metrics: values }, null, 2));
  } else {
    console.log(['', ...machine.map((line) => `- ${line}`), '', text].join('\n'));
  }
  if (options.write) {
    const made = [`Made on ${date} by \`${command}\` on:`, '', ...machine.map((line) => `- ${line}`), ''];
    writeBetween('bench', [...made, text].join('\n'));
  }
}

if (process.env[insideMark] === undefined) process.exitCode = runApart();
else await bench();
