import { cri } from '../../wire/index.ts';
import { digestOf, imageFilters, listImages, namesOf } from '../image-list.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { formatTable, shortId } from '../output/table.ts';
import { humanSize } from '../output/units.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '[REPOSITORY[:TAG]]',
  takes: 'image',
  count: { least: 0, most: 1 },
  examples: ['berthctl images', 'berthctl images --digests --no-trunc', "berthctl images --filter 'reference=busybox'"],
  options: {
    verbose: { type: 'flag', short: 'v', help: 'a paragraph for each' },
    quiet: { type: 'flag', short: 'q', help: 'only ids' },
    digests: { type: 'flag', help: 'show digests' },
    'no-trunc': { type: 'flag', help: 'whole ids' },
    pinned: { type: 'flag', help: 'show which are pinned, and so not removed when space is needed' },
    ...imageFilters,
    ...outputOptions,
  },
  async run({ context, options, operands: [name = ''] }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const images = await listImages(await context.daemon(), name, options.filter);
    if (printer.isTable && options.quiet) {
      context.stdout.write(images.map(({ id }) => `${id}\n`).join(''));
      return undefined;
    }
    if (printer.isTable && options.verbose) {
      context.stdout.write(images.map(paragraph).join(''));
      return undefined;
    }
    const cut = options['no-trunc'] ? (id: string) => id : shortId;
    const row = (...cells: (string | false)[]) => cells.filter((cell) => cell !== false);
    await printer.message(cri.ListImagesResponse, { images }, () =>
      formatTable([
        row('IMAGE', 'TAG', options.digests && 'DIGEST', 'IMAGE ID', 'SIZE', options.pinned && 'PINNED'),
        ...images.flatMap((image) =>
          namesOf(image).map(([repository, tag]) =>
            row(
              repository,
              tag,
              options.digests && cut(digestOf(image)),
              cut(image.id),
              humanSize(image.size, 3),
              options.pinned && String(image.pinned),
            ),
          ),
        ),
      ]),
    );
    return undefined;
  },
});

function paragraph({ id, repoTags, repoDigests, size, uid, username, pinned }: cri.Image): string {
  return [
    `ID: ${id}\n`,
    ...repoTags.map((tag) => `RepoTags: ${tag}\n`),
    ...repoDigests.map((digest) => `RepoDigests: ${digest}\n`),
    size === 0n ? '' : `Size: ${size.toString()}\n`,
    uid === undefined ? '' : `Uid: ${uid.value.toString()}\n`,
    username === '' ? '' : `Username: ${username}\n`,
    pinned ? 'Pinned: true\n' : '',
    '\n',
  ].join('');
}
