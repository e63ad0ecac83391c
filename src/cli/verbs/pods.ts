import { cri } from '../../wire/index.ts';
import { outputOptions, pairLines, Printer } from '../output/format.ts';
import { formatTable, shortId } from '../output/table.ts';
import { ago } from '../output/units.ts';
import { listPods, podFilters, podStateName, runtimeName } from '../pod-list.ts';
import { rfc3339 } from '../time.ts';
import { defineVerb } from '../verb.ts';

const columns = ['POD ID', 'CREATED', 'STATE', 'NAME', 'NAMESPACE', 'ATTEMPT', 'RUNTIME'];

export const verb = defineVerb({
  operands: '',
  details: 'All pods, newest first.',
  examples: ['berthctl pods', 'berthctl pods --state notready -q', 'berthctl pods --namespace ^kube-system$'],
  options: {
    id: { type: 'text', value: 'ID', help: 'only the pod whose id begins so' },
    ...podFilters,
    quiet: { type: 'flag', short: 'q', help: 'only ids' },
    verbose: { type: 'flag', short: 'v', help: 'a paragraph for each' },
    'no-trunc': { type: 'flag', help: 'whole ids' },
    ...outputOptions,
  },
  async run({ context, options }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const items = await listPods(await context.daemon(), options);
    if (printer.isTable && options.quiet) {
      context.stdout.write(items.map(({ id }) => `${id}\n`).join(''));
      return undefined;
    }
    if (printer.isTable && options.verbose) {
      context.stdout.write(items.map(paragraph).join(''));
      return undefined;
    }
    const now = context.now();
    await printer.message(cri.ListPodSandboxResponse, { items }, () =>
      formatTable([
        columns,
        ...items.map((pod) => [
          options['no-trunc'] ? pod.id : shortId(pod.id),
          ago(pod.createdAt, now),
          podStateName(pod.state),
          pod.metadata?.name ?? '',
          pod.metadata?.namespace ?? '',
          String(pod.metadata?.attempt ?? 0),
          runtimeName(pod),
        ]),
      ]),
    );
    return undefined;
  },
});

function paragraph(pod: cri.PodSandbox): string {
  const { metadata } = pod;
  return [
    `ID: ${pod.id}\n`,
    metadata?.name ? `Name: ${metadata.name}\n` : '',
    metadata?.uid ? `UID: ${metadata.uid}\n` : '',
    metadata?.namespace ? `Namespace: ${metadata.namespace}\n` : '',
    metadata?.attempt ? `Attempt: ${metadata.attempt}\n` : '',
    `Status: ${podStateName(pod.state)}\n`,
    `Created: ${rfc3339(pod.createdAt)}\n`,
    pairLines('Labels', pod.labels),
    pairLines('Annotations', pod.annotations),
    `Runtime: ${runtimeName(pod)}\n`,
    '\n',
  ].join('');
}
