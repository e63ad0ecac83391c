import { cri } from '../../wire/index.ts';
import { NotFoundError } from '../failure.ts';
import { imageFilters, listImages } from '../image-list.ts';
import { type Inspection, printStatuses } from '../inspect.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { humanSize } from '../output/units.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '[IMAGE...]',
  takes: 'image',
  count: { least: 0, most: Infinity },
  details: 'All that the server knows of images, as JSON; without an image, of those that the options pick, or of all.',
  examples: ['berthctl inspecti busybox', "berthctl inspecti -o go-template --template '{{.status.size}}' busybox"],
  options: {
    quiet: { type: 'flag', short: 'q', help: "without the image's configuration" },
    name: { type: 'text', help: 'only images of this name' },
    ...imageFilters,
    ...outputOptions,
  },
  async run({ context, options, operands }) {
    const printer = await Printer.of(options, context.stdout, 'json');
    const daemon = await context.daemon();
    const names =
      operands.length > 0
        ? operands
        : (await listImages(daemon, options.name ?? '', options.filter)).map(({ id }) => id);
    if (names.length === 0) throw new NotFoundError('no image is like that', 'berthctl images lists them');
    const answers = [];
    for (const image of names) {
      const request = { image: { image }, verbose: !options.quiet };
      const answer = await daemon.images(`cannot inspect ${image}`, 'ImageStatus', request);
      if (answer.image === undefined) {
        throw new NotFoundError(
          `there is no image ${image}`,
          `berthctl pull ${image} fetches it; berthctl images lists them`,
        );
      }
      answers.push({ status: answer.image, info: answer.info });
    }
    await printStatuses(context, printer, inspection, answers);
    return undefined;
  },
});

const inspection: Inspection<cri.Image> = {
  codec: cri.Image,
  table: ({ id, repoTags, repoDigests, size }) =>
    [
      `ID: ${id}\n`,
      ...repoTags.map((tag) => `Tag: ${tag}\n`),
      ...repoDigests.map((digest) => `Digest: ${digest}\n`),
      `Size: ${humanSize(size, 3)}\n`,
    ].join(''),
};
