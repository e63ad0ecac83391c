import { cri } from '../../wire/index.ts';
import { resolvePod } from '../identity.ts';
import { parsePairs } from '../labels.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { formatTable, shortId } from '../output/table.ts';
import { humanSize } from '../output/units.ts';
import { cpuPercent, sample, samplingOptions, watchData } from '../stats-sampling.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '[POD-ID]',
  takes: 'pod',
  count: { least: 0, most: 1 },
  details:
    'CPU % is of one processor: 200.00 is two at full load. MEM is the working set: what cannot be given back at once.',
  examples: ['berthctl statsp', 'berthctl statsp -o yaml 87d3992f84f74'],
  options: {
    id: { type: 'text', value: 'ID', help: 'only this pod' },
    label: { type: 'list', value: 'KEY=VALUE', help: 'only pods with this label; may be given more than once' },
    ...samplingOptions,
    ...outputOptions,
  },
  async run({ context, options, operands }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const labelSelector = parsePairs('--label', options.label);
    const daemon = await context.daemon();
    const given = options.id ?? operands[0];
    const filter = { id: given === undefined ? '' : await resolvePod(daemon, given), labelSelector };
    const read = async (signal: AbortSignal) => {
      const { stats } = await daemon.runtime('cannot measure pods', 'ListPodSandboxStats', { filter }, { signal });
      return stats.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
    };
    if (!printer.isTable) {
      await watchData(options, async (signal) =>
        printer.message(cri.ListPodSandboxStatsResponse, { stats: await read(signal) }, () => ''),
      );
      return undefined;
    }
    await sample(context, options, read, (before, after) =>
      formatTable([['POD', 'POD ID', 'CPU %', 'MEM'], ...after.flatMap((one) => row(before, one))]),
    );
    return undefined;
  },
});

function idOf({ attributes }: cri.PodSandboxStats): string {
  return attributes?.id ?? '';
}

function reading({ linux }: cri.PodSandboxStats) {
  return { timestamp: linux?.cpu?.timestamp ?? 0n, usedNanoseconds: linux?.cpu?.usageCoreNanoSeconds?.value ?? 0n };
}

/** No row for what uses nothing, and for what came in between. */
function row(before: readonly cri.PodSandboxStats[], one: cri.PodSandboxStats): string[][] {
  const memory = one.linux?.memory?.workingSetBytes?.value ?? 0n;
  const first = before.find((other) => idOf(other) === idOf(one));
  if (first === undefined || (reading(one).usedNanoseconds === 0n && memory === 0n)) return [];
  const name = one.attributes?.metadata?.name ?? '';
  return [[name, shortId(idOf(one)), cpuPercent(reading(first), reading(one)), humanSize(memory)]];
}
