import { cri } from '../../wire/index.ts';
import type { Daemon } from '../daemon.ts';
import { containerFilters, containerStateName, listContainers, podName, podNamespace } from '../container-list.ts';
import { outputOptions, pairLines, Printer } from '../output/format.ts';
import { formatTable, shortId } from '../output/table.ts';
import { ago } from '../output/units.ts';
import { defineVerb } from '../verb.ts';

const columns = ['CONTAINER', 'IMAGE', 'CREATED', 'STATE', 'NAME', 'ATTEMPT', 'POD ID', 'POD', 'NAMESPACE'];

export const verb = defineVerb({
  operands: '',
  details: 'Running containers, newest first; all of them with -a.',
  examples: ['berthctl ps -a', 'berthctl ps --state exited --last 5', 'berthctl rm $(berthctl ps -aq --label app=web)'],
  options: {
    all: { type: 'flag', short: 'a', help: 'containers in any state' },
    id: { type: 'text', value: 'ID', help: 'only the container whose id begins so' },
    ...containerFilters,
    state: { ...containerFilters.state, short: 's' },
    namespace: { type: 'text', value: 'PATTERN', help: "only containers whose pod's namespace matches" },
    quiet: { type: 'flag', short: 'q', help: 'only ids' },
    verbose: { type: 'flag', short: 'v', help: 'a paragraph for each' },
    'no-trunc': { type: 'flag', help: 'whole ids' },
    'resolve-image-path': { type: 'flag', short: 'r', help: "the image's name instead of its id" },
    ...outputOptions,
  },
  async run({ context, options }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const daemon = await context.daemon();
    const containers = await listContainers(daemon, options);
    if (printer.isTable && options.quiet) {
      context.stdout.write(containers.map(({ id }) => `${id}\n`).join(''));
      return undefined;
    }
    const now = context.now();
    if (printer.isTable && options.verbose) {
      context.stdout.write(containers.map((container) => paragraph(container, now)).join(''));
      return undefined;
    }
    const images = new Map<string, string>();
    if (printer.isTable && options['resolve-image-path']) await resolveImages(daemon, containers, images);
    const cut = options['no-trunc'] ? (id: string) => id : shortId;
    await printer.message(cri.ListContainersResponse, { containers }, () =>
      formatTable([
        columns,
        ...containers.map((container) => [
          cut(container.id),
          images.get(imageOf(container)) ?? shown(imageOf(container), options['no-trunc']),
          ago(container.createdAt, now),
          containerStateName(container.state),
          container.metadata?.name ?? '',
          String(container.metadata?.attempt ?? 0),
          cut(container.podSandboxId),
          podName(container),
          podNamespace(container),
        ]),
      ]),
    );
    return undefined;
  },
});

function imageOf({ image }: cri.Container): string {
  return image?.image ?? '';
}

/** Digests are cut short as ids are; names are not. */
function shown(image: string, whole: boolean): string {
  return !whole && /^sha256:[0-9a-f]{64}$/.test(image) ? shortId(image) : image;
}

async function resolveImages(
  daemon: Daemon,
  containers: readonly cri.Container[],
  names: Map<string, string>,
): Promise<void> {
  for (const container of containers) {
    const image = imageOf(container);
    if (names.has(image)) continue;
    const answer = await daemon.images(`cannot look up the image ${image}`, 'ImageStatus', { image: { image } });
    names.set(image, answer.image?.repoTags[0] ?? image);
  }
}

function paragraph(container: cri.Container, now: number): string {
  return [
    `ID: ${container.id}\n`,
    `PodID: ${container.podSandboxId}\n`,
    `Namespace: ${podNamespace(container)}\n`,
    container.metadata?.name ? `Name: ${container.metadata.name}\n` : '',
    `Attempt: ${container.metadata?.attempt ?? 0}\n`,
    `State: ${containerStateName(container.state)}\n`,
    `Image: ${imageOf(container)}\n`,
    `Created: ${ago(container.createdAt, now)}\n`,
    pairLines('Labels', container.labels),
    pairLines('Annotations', container.annotations),
    '\n',
  ].join('');
}
