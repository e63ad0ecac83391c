import { cri } from '../../wire/index.ts';
import { resolveContainer, resolvePod } from '../identity.ts';
import { parsePairs } from '../labels.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { formatTable, shortId } from '../output/table.ts';
import { humanSize } from '../output/units.ts';
import { cpuPercent, sample, samplingOptions, watchData } from '../stats-sampling.ts';
import { defineVerb } from '../verb.ts';

const columns = ['CONTAINER', 'NAME', 'CPU %', 'MEM', 'DISK', 'INODES', 'SWAP'];

export const verb = defineVerb({
  operands: '[CONTAINER-ID]',
  takes: 'container',
  count: { least: 0, most: 1 },
  details: `CPU % is of one processor: 200.00 is two at full load. MEM is the working set: what cannot be given back at once.`,
  examples: ['berthctl stats', 'berthctl stats -w --pod 87d3992f84f74', 'berthctl stats -o json 1f73f2d81bf98'],
  options: {
    all: { type: 'flag', short: 'a', help: 'containers that use nothing too' },
    id: { type: 'text', value: 'ID', help: 'only this container' },
    pod: { type: 'text', short: 'p', value: 'ID', help: 'only containers of this pod' },
    label: { type: 'list', value: 'KEY=VALUE', help: 'only containers with this label; may be given more than once' },
    ...samplingOptions,
    ...outputOptions,
  },
  async run({ context, options, operands }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const labelSelector = parsePairs('--label', options.label);
    const daemon = await context.daemon();
    const given = options.id ?? operands[0];
    const filter = {
      id: given === undefined ? '' : await resolveContainer(daemon, given),
      podSandboxId: options.pod === undefined ? '' : await resolvePod(daemon, options.pod),
      labelSelector,
    };
    const read = async (signal: AbortSignal) => {
      const { stats } = await daemon.runtime('cannot measure containers', 'ListContainerStats', { filter }, { signal });
      return stats.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
    };
    if (!printer.isTable) {
      await watchData(options, async (signal) =>
        printer.message(cri.ListContainerStatsResponse, { stats: await read(signal) }, () => ''),
      );
      return undefined;
    }
    await sample(context, options, read, (before, after) =>
      formatTable([columns, ...after.flatMap((one) => row(before, one, options.all))]),
    );
    return undefined;
  },
});

function idOf({ attributes }: cri.ContainerStats): string {
  return attributes?.id ?? '';
}

function reading({ cpu }: cri.ContainerStats) {
  return { timestamp: cpu?.timestamp ?? 0n, usedNanoseconds: cpu?.usageCoreNanoSeconds?.value ?? 0n };
}

/** No row for what does not run, and for what came in between. */
function row(before: readonly cri.ContainerStats[], one: cri.ContainerStats, all: boolean): string[][] {
  const memory = one.memory?.workingSetBytes?.value ?? 0n;
  const first = before.find((other) => idOf(other) === idOf(one));
  const uses = reading(one).usedNanoseconds > 0n || memory > 0n;
  if (first === undefined || !(uses || all)) return [];
  return [
    [
      shortId(idOf(one)),
      one.attributes?.metadata?.name ?? '',
      cpuPercent(reading(first), reading(one)),
      humanSize(memory),
      humanSize(one.writableLayer?.usedBytes?.value ?? 0n),
      (one.writableLayer?.inodesUsed?.value ?? 0n).toString(),
      humanSize(one.swap?.swapUsageBytes?.value ?? 0n),
    ],
  ];
}
