/**
 * `npm run bench -- manager`: our daemon and Debian's containerd side by side, in one run: with the same OCI runtime (runc), the same
 * CNI plugins, the same image, and driven by the same client of CRI. Each has a mount and a network namespace of its own; they take
 * turns, and take turns at being first.
 *
 *   --rounds N          lives of a pod for each; default 20
 *   --crowds N          how often 50 pods are run for each; default 2
 *   --pulls N           pulls for each; default 5
 *   --only A,B          of life, crowd, pull; default all
 *   --daemons A,B       default containerd,berthd
 *   --output json       machine-readable
 *   --write             put the tables into docs/benchmarks.md
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { standIns } from '../conformance/stand-ins.ts';
import { makeBigImage } from './big-image.ts';
import { writeBetween } from './document.ts';
import { describeHost, output } from './machine.ts';
import { type Contestant, contestantNames, Ground, ownRegistry } from './manager-ground.ts';
import { crowdMetrics, lifeMetrics, measureCrowd, measureLife, measurePull, pullMetrics } from './manager-measures.ts';
import { report } from './report.ts';
import { type Metric, Results } from './result.ts';

const groups = { life: lifeMetrics, crowd: crowdMetrics, pull: pullMetrics } as const;
const bigImage = 'big:latest';

const { values: options } = parseArgs({
  args: process.argv.slice(3),
  options: {
    rounds: { type: 'string', default: '20' },
    crowds: { type: 'string', default: '2' },
    pulls: { type: 'string', default: '5' },
    only: { type: 'string', default: Object.keys(groups).join(',') },
    daemons: { type: 'string', default: contestantNames.join(',') },
    output: { type: 'string', default: 'text' },
    write: { type: 'boolean', default: false },
  },
});

const progress = (text: string) => process.stderr.write(`${text}\n`);

function number(name: 'rounds' | 'crowds' | 'pulls'): number {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} ${options[name]}: give a number of 1 or more`);
  return value;
}

function chosen<Name extends string>(name: 'only' | 'daemons', known: readonly Name[]): Name[] {
  const names = options[name].split(',');
  const unknown = names.filter((one) => !known.some((other) => other === one));
  if (unknown.length > 0) throw new Error(`--${name} ${unknown.join(',')}: there are ${known.join(', ')}`);
  return names as Name[];
}

/** So many rounds of something for all, each round begun by the next. */
async function inTurn(
  what: string,
  rounds: number,
  grounds: readonly Ground[],
  measure: (ground: Ground) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    progress(`${what}, round ${round + 1} of ${rounds}`);
    for (let turn = 0; turn < grounds.length; turn++) await measure(grounds[(round + turn) % grounds.length] as Ground);
  }
}

async function measureAll(
  grounds: readonly Ground[],
  only: readonly (keyof typeof groups)[],
  results: Results,
): Promise<void> {
  const [rounds, crowds, pulls] = [number('rounds'), number('crowds'), number('pulls')];
  if (only.includes('life')) {
    for (const ground of grounds) await measureLife(ground);
    await inTurn('lives', rounds, grounds, (ground) => measureLife(ground, results));
  }
  if (only.includes('crowd')) await inTurn('crowds', crowds, grounds, (ground) => measureCrowd(ground, results));
  if (only.includes('pull')) {
    const reference = `${ownRegistry}/${bigImage}`;
    for (const ground of grounds) await measurePull(ground, reference);
    await inTurn('pulls', pulls, grounds, (ground) => measurePull(ground, reference, results));
  }
}

async function describe(grounds: readonly Ground[]): Promise<string[]> {
  const daemons = await Promise.all(
    grounds.map(async ({ name, cri }) => {
      const { runtimeVersion } = await cri.runtime('Version', {});
      return `${name} ${runtimeVersion}${name === 'containerd' ? ", with Debian's containerd-shim-runc-v2" : ''}`;
    }),
  );
  const plugins = output('dpkg-query', '-W', '-f', '${Package} ${Version}', 'containernetworking-plugins');
  return [
    describeHost(),
    ...daemons,
    output('runc', '--version').split('\n')[0] ?? '',
    `${plugins}: bridge, host-local, portmap, bandwidth`,
    `driven by Node ${process.versions.node} over gRPC, the same client for all`,
  ];
}

async function bench(): Promise<void> {
  const only = chosen('only', Object.keys(groups) as (keyof typeof groups)[]);
  const names: Contestant[] = chosen('daemons', contestantNames);
  const results = new Results();
  const folder = mkdtempSync(join(tmpdir(), 'berth-bench-'));
  const grounds: Ground[] = [];
  const close = async () => {
    for (const ground of grounds.splice(0)) await ground.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const stop = (): void => void close().finally(() => process.exit(130));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  let machine: string[];
  try {
    const images = await standIns(progress);
    if (only.includes('pull')) await makeBigImage(folder, bigImage);
    for (const name of names) grounds.push(await Ground.open(name, [images, join(folder, 'storage')]));
    await measureAll(grounds, only, results);
    machine = await describe(grounds);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await close();
  }
  publish(
    names,
    only.flatMap((group): Metric[] => Object.values(groups[group])),
    results,
    machine,
  );
}

function publish(names: readonly Contestant[], metrics: readonly Metric[], results: Results, machine: string[]): void {
  const command = `npm run bench -- ${process.argv.slice(2).join(' ')}`;
  const date = new Date().toISOString().slice(0, 10);
  const text = report(metrics, { names, compared: 'berthd', reference: 'containerd' }, results);
  const lines = machine.map((line) => `- ${line}`);
  if (options.output === 'json') {
    const summaries = metrics.map((metric) => {
      const of = Object.fromEntries(names.map((name) => [name, results.summary(metric, name)]));
      return { id: metric.id, unit: metric.unit, better: metric.better, contestants: of };
    });
    console.log(JSON.stringify({ date, command, machine, metrics: summaries }, null, 2));
  } else {
    console.log(['', ...lines, '', text].join('\n'));
  }
  if (options.write)
    writeBetween('manager', [`Made on ${date} by \`${command}\` on:`, '', ...lines, '', text].join('\n'));
}

await bench();
