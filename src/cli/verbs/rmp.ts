import { cri } from '../../wire/index.ts';
import { forEachOf } from '../each.ts';
import { Failure, UsageError } from '../failure.ts';
import { resolvePod } from '../identity.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '[POD-ID...]',
  takes: 'pod',
  count: { least: 0, most: Infinity },
  details: 'Removes pods with their containers. A pod that runs is left alone, unless --force stops it first.',
  examples: ['berthctl rmp 87d3992f84f74', 'berthctl rmp -fa'],
  options: {
    force: { type: 'flag', short: 'f', help: 'stop those that run' },
    all: { type: 'flag', short: 'a', help: 'all pods' },
  },
  async run({ context, options, operands }) {
    const daemon = await context.daemon();
    if (operands.length === 0 && !options.all)
      throw new UsageError('which pod?', 'name one, or use --all; berthctl pods lists them');
    const ids = options.all
      ? (await daemon.runtime('cannot list pods', 'ListPodSandbox', {})).items.map(({ id }) => id)
      : operands;
    if (ids.length === 0) context.say('No pods to remove');
    await forEachOf(context, ids, async (given) => {
      const podSandboxId = await resolvePod(daemon, given);
      const { status } = await daemon.runtime(`cannot remove the pod ${given}`, 'PodSandboxStatus', { podSandboxId });
      if (status?.state === cri.PodSandboxState.SANDBOX_READY) {
        if (!options.force) {
          throw new Failure(`cannot remove the pod ${given}: it runs`, {
            next: `berthctl stopp ${given}, or berthctl rmp -f ${given}`,
          });
        }
        await daemon.runtime(`cannot stop the pod ${given}`, 'StopPodSandbox', { podSandboxId }, { deadline: 'slow' });
        context.stdout.write(`Stopped sandbox ${podSandboxId}\n`);
      }
      await daemon.runtime(
        `cannot remove the pod ${given}`,
        'RemovePodSandbox',
        { podSandboxId },
        { deadline: 'slow' },
      );
      context.stdout.write(`Removed sandbox ${podSandboxId}\n`);
    });
    return undefined;
  },
});
