import { forEachOf } from '../each.ts';
import { resolveContainer } from '../identity.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: 'CONTAINER-ID [CONTAINER-ID...]',
  takes: 'container',
  count: { least: 1, most: Infinity },
  examples: ['berthctl start 1f73f2d81bf98'],
  options: {},
  async run({ context, operands }) {
    const daemon = await context.daemon();
    await forEachOf(context, operands, async (given) => {
      const containerId = await resolveContainer(daemon, given);
      await daemon.runtime(
        `cannot start the container ${given}`,
        'StartContainer',
        { containerId },
        { deadline: 'slow' },
      );
      context.stdout.write(`${given}\n`);
    });
    return undefined;
  },
});
