import { cri } from '../../wire/index.ts';
import { NotFoundError } from '../failure.ts';
import { resolvePod } from '../identity.ts';
import { type Inspection, printStatuses } from '../inspect.ts';
import { outputOptions, pairLines, Printer } from '../output/format.ts';
import { enumName } from '../output/message-json.ts';
import { listPods, podFilters } from '../pod-list.ts';
import { rfc3339 } from '../time.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '[POD-ID...]',
  takes: 'pod',
  count: { least: 0, most: Infinity },
  details: 'All that the server knows of pods, as JSON; without an id, of those that the options pick.',
  examples: [
    'berthctl inspectp 87d3992f84f74',
    "berthctl inspectp --output go-template --template '{{.status.network.ip}}' 87d3992f84f74",
  ],
  options: {
    quiet: { type: 'flag', short: 'q', help: "without the runtime's own information" },
    ...podFilters,
    ...outputOptions,
  },
  async run({ context, options, operands }) {
    const printer = await Printer.of(options, context.stdout, 'json');
    const daemon = await context.daemon();
    const ids = [];
    for (const operand of operands) ids.push(await resolvePod(daemon, operand));
    if (operands.length === 0) ids.push(...(await listPods(daemon, options)).map(({ id }) => id));
    if (ids.length === 0) throw new NotFoundError('no pod is like that', 'berthctl pods lists them');
    const answers = [];
    for (const podSandboxId of ids) {
      const request = { podSandboxId, verbose: !options.quiet };
      const { status, info } = await daemon.runtime(`cannot inspect ${podSandboxId}`, 'PodSandboxStatus', request);
      if (status === undefined) throw new NotFoundError(`there is no pod ${podSandboxId}`);
      answers.push({ status, info });
    }
    await printStatuses(context, printer, inspection, answers);
    return undefined;
  },
});

const inspection: Inspection<cri.PodSandboxStatus> = {
  codec: cri.PodSandboxStatus,
  moments: ({ createdAt }) => ({ createdAt }),
  table: (status) => {
    const { metadata, network } = status;
    return [
      `ID: ${status.id}\n`,
      metadata?.name ? `Name: ${metadata.name}\n` : '',
      metadata?.uid ? `UID: ${metadata.uid}\n` : '',
      metadata?.namespace ? `Namespace: ${metadata.namespace}\n` : '',
      `Attempt: ${metadata?.attempt ?? 0}\n`,
      `Status: ${enumName(cri.PodSandboxState, status.state) ?? String(status.state)}\n`,
      `Created: ${rfc3339(status.createdAt)}\n`,
      network === undefined ? '' : `IP Addresses: ${network.ip}\n`,
      ...(network?.additionalIps ?? []).map(({ ip }) => `Additional IP: ${ip}\n`),
      pairLines('Labels', status.labels),
      pairLines('Annotations', status.annotations),
    ].join('');
  },
};
