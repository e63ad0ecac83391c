import type { cri, Init } from '../../wire/index.ts';
import { forEachOf } from '../each.ts';
import { UsageError } from '../failure.ts';
import { resolveContainer } from '../identity.ts';
import { parsePairs } from '../labels.ts';
import type { OptionValues } from '../options.ts';
import { defineVerb } from '../verb.ts';

const options = {
  'cpu-period': { type: 'whole', help: 'length of a period, in microseconds' },
  'cpu-quota': { type: 'whole', help: 'processor time in a period, in microseconds; -1: no limit' },
  'cpu-share': { type: 'whole', help: 'weight beside other containers' },
  'cpuset-cpus': { type: 'text', value: 'LIST', help: 'processors to use, such as 0-2,4' },
  'cpuset-mems': { type: 'text', value: 'LIST', help: 'memory nodes to use' },
  memory: { type: 'whole', help: 'limit in bytes' },
  'memory-swap': { type: 'whole', help: 'limit of memory and swap together, in bytes; -1: no limit' },
  'oom-score-adj': { type: 'whole', help: 'how soon it is killed when memory runs out, -1000 to 1000' },
  'hugepage-limit': { type: 'list', value: 'SIZE=BYTES', help: 'such as 2MB=4194304; may be given more than once' },
  unified: { type: 'list', value: 'FILE=VALUE', help: 'of cgroup v2, such as memory.high=1000000; more than once' },
} as const;

export const verb = defineVerb({
  operands: 'CONTAINER-ID [CONTAINER-ID...]',
  takes: 'container',
  count: { least: 1, most: Infinity },
  details: 'Changes limits while the containers run. What is not named, or 0, stays as it is.',
  examples: ['berthctl update --memory 268435456 --cpu-quota 50000 --cpu-period 100000 1f73f2d81bf98'],
  options,
  async run({ context, options: values, given, operands }) {
    if (given.size === 0)
      throw new UsageError('which limit?', 'such as --memory 268435456; see "berthctl update --help"');
    const linux = resourcesOf(values);
    const daemon = await context.daemon();
    await forEachOf(context, operands, async (operand) => {
      const containerId = await resolveContainer(daemon, operand);
      await daemon.runtime(`cannot update the container ${operand}`, 'UpdateContainerResources', {
        containerId,
        linux,
      });
      context.stdout.write(`${operand}\n`);
    });
    return undefined;
  },
});

function resourcesOf(values: OptionValues<typeof options>): Init<cri.LinuxContainerResources> {
  const limits = parsePairs('--hugepage-limit', values['hugepage-limit']);
  return {
    cpuPeriod: BigInt(values['cpu-period'] ?? 0),
    cpuQuota: BigInt(values['cpu-quota'] ?? 0),
    cpuShares: BigInt(values['cpu-share'] ?? 0),
    memoryLimitInBytes: BigInt(values.memory ?? 0),
    memorySwapLimitInBytes: BigInt(values['memory-swap'] ?? 0),
    oomScoreAdj: BigInt(values['oom-score-adj'] ?? 0),
    cpusetCpus: values['cpuset-cpus'] ?? '',
    cpusetMems: values['cpuset-mems'] ?? '',
    hugepageLimits: Object.entries(limits).map(([pageSize, limit]) => {
      if (!/^\d+$/.test(limit)) throw new UsageError(`--hugepage-limit needs SIZE=BYTES, not "${pageSize}=${limit}"`);
      return { pageSize, limit: BigInt(limit) };
    }),
    unified: parsePairs('--unified', values.unified),
  };
}
