import { forEachOf } from '../each.ts';
import { resolvePod } from '../identity.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: 'POD-ID [POD-ID...]',
  takes: 'pod',
  count: { least: 1, most: Infinity },
  details: 'Ends all containers of the pods and takes their network away. What is stopped already is left as it is.',
  examples: ['berthctl stopp 87d3992f84f74', 'berthctl stopp $(berthctl pods -q --state ready)'],
  options: {},
  async run({ context, operands }) {
    const daemon = await context.daemon();
    await forEachOf(context, operands, async (given) => {
      const podSandboxId = await resolvePod(daemon, given);
      await daemon.runtime(`cannot stop the pod ${given}`, 'StopPodSandbox', { podSandboxId }, { deadline: 'slow' });
      context.stdout.write(`Stopped sandbox ${podSandboxId}\n`);
    });
    return undefined;
  },
});
