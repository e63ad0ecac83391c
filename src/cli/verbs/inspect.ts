import { cri } from '../../wire/index.ts';
import { containerFilters, listContainers } from '../container-list.ts';
import { NotFoundError } from '../failure.ts';
import { resolveContainer } from '../identity.ts';
import { type Inspection, printStatuses } from '../inspect.ts';
import { outputOptions, pairLines, Printer } from '../output/format.ts';
import { enumName } from '../output/message-json.ts';
import { ago } from '../output/units.ts';
import { defineVerb } from '../verb.ts';

const { CONTAINER_CREATED, CONTAINER_EXITED } = cri.ContainerState;

export const verb = defineVerb({
  operands: '[CONTAINER-ID...]',
  takes: 'container',
  count: { least: 0, most: Infinity },
  details: 'All that the server knows of containers, as JSON; without an id, of those that the options pick.',
  examples: [
    'berthctl inspect 1f73f2d81bf98',
    "berthctl inspect --output go-template --template '{{.status.state}} {{.status.exitCode}}' 1f73f2d81bf98",
  ],
  options: {
    quiet: { type: 'flag', short: 'q', help: "without the runtime's own information" },
    all: { type: 'flag', short: 'a', help: 'containers in any state' },
    ...containerFilters,
    state: { ...containerFilters.state, short: 's' },
    namespace: { type: 'text', value: 'PATTERN', help: "only containers whose pod's namespace matches" },
    ...outputOptions,
  },
  async run({ context, options, operands }) {
    const printer = await Printer.of(options, context.stdout, 'json');
    const daemon = await context.daemon();
    const ids = [];
    for (const operand of operands) ids.push(await resolveContainer(daemon, operand));
    if (operands.length === 0) ids.push(...(await listContainers(daemon, options)).map(({ id }) => id));
    if (ids.length === 0) throw new NotFoundError('no container is like that', 'berthctl ps -a lists them');
    const answers = [];
    for (const containerId of ids) {
      const request = { containerId, verbose: !options.quiet };
      const { status, info } = await daemon.runtime(`cannot inspect ${containerId}`, 'ContainerStatus', request);
      if (status === undefined) throw new NotFoundError(`there is no container ${containerId}`);
      answers.push({ status, info });
    }
    await printStatuses(context, printer, inspection(context.now()), answers);
    return undefined;
  },
});

function inspection(now: number): Inspection<cri.ContainerStatus> {
  return {
    codec: cri.ContainerStatus,
    moments: ({ state, createdAt, startedAt, finishedAt }) => ({
      createdAt,
      startedAt: state === CONTAINER_CREATED ? undefined : startedAt,
      finishedAt:
        state === CONTAINER_EXITED || (state === cri.ContainerState.CONTAINER_UNKNOWN && finishedAt > 0n)
          ? finishedAt
          : undefined,
    }),
    table: (status) => paragraph(status, now),
  };
}

function paragraph(status: cri.ContainerStatus, now: number): string {
  const { state, metadata } = status;
  const ended = state === CONTAINER_EXITED;
  return [
    `ID: ${status.id}\n`,
    metadata?.name ? `Name: ${metadata.name}\n` : '',
    metadata?.attempt ? `Attempt: ${metadata.attempt}\n` : '',
    `State: ${enumName(cri.ContainerState, state) ?? String(state)}\n`,
    `Created: ${ago(status.createdAt, now)}\n`,
    state === CONTAINER_CREATED ? '' : `Started: ${ago(status.startedAt, now)}\n`,
    ended && status.finishedAt > 0n ? `Finished: ${ago(status.finishedAt, now)}\n` : '',
    ended ? `Exit Code: ${status.exitCode}\n` : '',
    status.reason === '' ? '' : `Reason: ${status.reason}\n`,
    status.message === '' ? '' : `Message: ${status.message}\n`,
    pairLines('Labels', status.labels),
    pairLines('Annotations', status.annotations),
  ].join('');
}
