import { cri } from '../../wire/index.ts';
import { infoToJson, outputOptions, Printer } from '../output/format.ts';
import type { Json } from '../output/json.ts';
import { messageToJson } from '../output/message-json.ts';
import { formatTable } from '../output/table.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '',
  details: 'Whether the runtime and the network are ready, which runtimes there are, and how the server is configured.',
  examples: ['berthctl info', 'berthctl info -o table'],
  options: {
    quiet: { type: 'flag', short: 'q', help: "without the runtime's own information" },
    ...outputOptions,
  },
  async run({ context, options }) {
    const printer = await Printer.of(options, context.stdout, 'json');
    const daemon = await context.daemon();
    const answer = await daemon.runtime("cannot get the server's state", 'Status', { verbose: !options.quiet });
    if (printer.isTable) context.stdout.write(table(answer));
    else await printer.statuses([toJson(answer)]);
    return undefined;
  },
});

/** As crictl prints it: handlers and features with the names of the .proto file, and without what is not set. */
function toJson({ status, runtimeHandlers, features, info }: cri.StatusResponse): Json {
  const form = { names: 'proto', omitDefaults: true } as const;
  return {
    ...infoToJson(info),
    ...(status !== undefined && { status: messageToJson(cri.RuntimeStatus, status) }),
    ...(runtimeHandlers.length > 0 && {
      runtimeHandlers: runtimeHandlers.map((one) => messageToJson(cri.RuntimeHandler, one, form)),
    }),
    ...(features !== undefined && { features: messageToJson(cri.RuntimeFeatures, features, form) }),
  };
}

function table({ status, runtimeHandlers }: cri.StatusResponse): string {
  const conditions = (status?.conditions ?? []).map(({ type, status: met, reason, message }) => [
    type,
    met ? 'yes' : 'NO',
    [reason, message].filter((text) => text !== '').join(': '),
  ]);
  const handlers = runtimeHandlers.map(({ name }) => (name === '' ? '(default)' : name));
  return `${formatTable([['CONDITION', 'MET', 'WHY'], ...conditions], 10)}Runtimes: ${handlers.join(', ')}\n`;
}
