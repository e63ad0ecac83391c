import { cri } from '../../wire/index.ts';
import { forEachOf } from '../each.ts';
import { Failure, UsageError } from '../failure.ts';
import { resolveContainer } from '../identity.ts';
import { removeLogs } from '../logs/remove.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '[CONTAINER-ID...]',
  takes: 'container',
  count: { least: 0, most: Infinity },
  details: 'Removes containers and their log files. One that runs is left alone, unless --force stops it first.',
  examples: ['berthctl rm 1f73f2d81bf98', 'berthctl rm $(berthctl ps -aq --state exited)'],
  options: {
    force: { type: 'flag', short: 'f', help: 'stop those that run' },
    'keep-logs': { type: 'flag', short: 'k', help: 'leave the log files where they are' },
    all: { type: 'flag', short: 'a', help: 'all containers' },
  },
  async run({ context, options, operands }) {
    if (operands.length === 0 && !options.all) {
      throw new UsageError('which container?', 'name one, or use --all; berthctl ps -a lists them');
    }
    const daemon = await context.daemon();
    const ids = options.all
      ? (await daemon.runtime('cannot list containers', 'ListContainers', {})).containers.map(({ id }) => id)
      : operands;
    if (ids.length === 0) context.say('No containers to remove');
    await forEachOf(context, ids, async (given) => {
      const containerId = await resolveContainer(daemon, given);
      const { status } = await daemon.runtime(`cannot remove the container ${given}`, 'ContainerStatus', {
        containerId,
      });
      if (status?.state === cri.ContainerState.CONTAINER_RUNNING) {
        if (!options.force) {
          throw new Failure(`cannot remove the container ${given}: it runs`, {
            next: `berthctl stop ${given}, or berthctl rm -f ${given}`,
          });
        }
        const request = { containerId, timeout: 0n };
        await daemon.runtime(`cannot stop the container ${given}`, 'StopContainer', request, { deadline: 'slow' });
      }
      await daemon.runtime(
        `cannot remove the container ${given}`,
        'RemoveContainer',
        { containerId },
        { deadline: 'slow' },
      );
      context.stdout.write(`${given}\n`);
      if (!options['keep-logs']) await removeLogs(context, status?.logPath ?? '');
    });
    return undefined;
  },
});
