import { cri } from '../../wire/index.ts';
import { UsageError } from '../failure.ts';
import { eventLine, eventToJson } from '../journal-event.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { enumName, messageToJson } from '../output/message-json.ts';
import { shortId } from '../output/table.ts';
import { untilInterrupted } from '../signals.ts';
import { rfc3339 } from '../time.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '',
  details: `Without --after: CRI's events, from now on, as JSON like crictl. With --after N: berthd's numbered events after number N, each once
and in order for each container, also those of the time when you were away; --after 0 begins with the oldest that is kept. These come as
lines, with -o json as one line of JSON each. The number to go on with is that of the last line that you have seen.`,
  examples: [
    'berthctl events',
    'berthctl events --after 0 --no-follow',
    'berthctl events --after 4711 -o json | jq .event.exitStatus',
  ],
  options: {
    after: { type: 'whole', help: "berthd's own events after this number" },
    'no-follow': { type: 'flag', help: 'with --after: end when all that is kept has been shown' },
    ...outputOptions,
  },
  async run({ context, options }) {
    const { after } = options;
    if (after !== undefined && after < 0) throw new UsageError('--after is a number from 0');
    if (options['no-follow'] && after === undefined) throw new UsageError('--no-follow goes with --after');
    const printer = await Printer.of(options, context.stdout, after === undefined ? 'json' : 'table');
    const daemon = await context.daemon();
    await untilInterrupted(async (signal) => {
      if (after === undefined) {
        for await (const event of daemon.containerEvents(signal)) {
          if (printer.isTable) context.stdout.write(criLine(event));
          else await printer.json(messageToJson(cri.ContainerEventResponse, event));
        }
        return;
      }
      const request = { afterSequence: BigInt(after), noFollow: options['no-follow'] };
      for await (const event of daemon.events(request, signal)) {
        if (printer.isTable) context.stdout.write(eventLine(event));
        else if (printer.format === 'json') context.stdout.write(`${JSON.stringify(eventToJson(event))}\n`);
        else await printer.json(eventToJson(event));
      }
    });
    return undefined;
  },
});

function criLine({ createdAt, containerEventType, containerId, podSandboxStatus }: cri.ContainerEventResponse): string {
  const what = enumName(cri.ContainerEventType, containerEventType) ?? String(containerEventType);
  const pod = podSandboxStatus?.metadata?.name;
  return `${rfc3339(createdAt).padEnd(35)} ${what.padEnd(23)} ${shortId(containerId)}${pod ? ` pod=${pod}` : ''}\n`;
}
