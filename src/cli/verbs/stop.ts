import { listContainers } from '../container-list.ts';
import { forEachOf } from '../each.ts';
import { UsageError } from '../failure.ts';
import { resolveContainer } from '../identity.ts';
import { defineVerb } from '../verb.ts';

/** What the server may need after the grace period is over. */
const killMs = 60_000;

export const verb = defineVerb({
  operands: '[CONTAINER-ID...]',
  takes: 'container',
  count: { least: 0, most: Infinity },
  details:
    'Sends the stop signal, waits as long as --timeout says, then kills. What has ended already is left as it is.',
  examples: ['berthctl stop -t 10 1f73f2d81bf98', 'berthctl stop --all'],
  options: {
    timeout: {
      type: 'duration',
      short: 't',
      help: 'seconds between the stop signal and the kill (default 0: at once)',
    },
    all: { type: 'flag', short: 'a', help: 'all containers that run' },
  },
  async run({ context, options, operands }) {
    if (options.all && operands.length > 0) throw new UsageError('--all and ids do not go together');
    if (!options.all && operands.length === 0) {
      throw new UsageError('which container?', 'name one, or use --all; berthctl ps lists them');
    }
    const graceMs = Math.max(0, options.timeout ?? 0);
    const daemon = await context.daemon();
    const ids = options.all ? (await listContainers(daemon, {})).map(({ id }) => id) : operands;
    if (ids.length === 0) context.stdout.write('No running containers found.\n');
    await forEachOf(context, ids, async (given) => {
      const containerId = await resolveContainer(daemon, given);
      const request = { containerId, timeout: BigInt(Math.ceil(graceMs / 1000)) };
      await daemon.runtime(`cannot stop the container ${given}`, 'StopContainer', request, {
        deadline: graceMs + killMs,
      });
      context.stdout.write(`${given}\n`);
    });
    return undefined;
  },
});
