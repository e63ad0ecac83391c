import type { Context } from '../context.ts';
import type { Daemon } from '../daemon.ts';
import { forEachOf } from '../each.ts';
import { NotFoundError, UsageError } from '../failure.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '[IMAGE...]',
  takes: 'image',
  count: { least: 0, most: Infinity },
  details: `Images that containers use keep their layers until those are removed.
--prune leaves what containers use and what is pinned; an error of one image does not stop it.`,
  examples: ['berthctl rmi busybox:1.36', 'berthctl rmi --prune'],
  options: {
    all: { type: 'flag', short: 'a', help: 'all images' },
    prune: { type: 'flag', short: 'q', help: 'all images that no container uses' },
  },
  async run({ context, options, operands }) {
    if (operands.length === 0 && !options.all && !options.prune) {
      throw new UsageError('which image?', 'name one, or use --prune or --all; berthctl images lists them');
    }
    const daemon = await context.daemon();
    const chosen = new Set(operands);
    if (options.all || options.prune) {
      const { images } = await daemon.images('cannot list images', 'ListImages', {});
      const used = options.prune ? await imagesInUse(daemon) : new Set<string>();
      for (const { id, pinned } of images) {
        if (!(options.prune && (pinned || used.has(id)))) chosen.add(id);
      }
    }
    if (chosen.size === 0) context.say('No images to remove');
    await forEachOf(context, [...chosen], (image) => remove(context, daemon, image, options.prune));
    return undefined;
  },
});

async function imagesInUse(daemon: Daemon): Promise<Set<string>> {
  const { containers } = await daemon.runtime('cannot list containers', 'ListContainers', {});
  const used = new Set<string>();
  for (const name of new Set(containers.map(({ image }) => image?.image ?? ''))) {
    const { image } = await daemon.images(`cannot look up the image ${name}`, 'ImageStatus', {
      image: { image: name },
    });
    used.add(image?.id ?? name);
  }
  for (const { imageId } of containers) used.add(imageId);
  return used;
}

async function remove(context: Context, daemon: Daemon, name: string, quietly: boolean): Promise<void> {
  const { image } = await daemon.images(`cannot look up the image ${name}`, 'ImageStatus', { image: { image: name } });
  if (image === undefined) throw new NotFoundError(`there is no image ${name}`, 'berthctl images lists them');
  try {
    await daemon.images(
      `cannot remove the image ${name}`,
      'RemoveImage',
      { image: { image: name } },
      { deadline: 'slow' },
    );
  } catch (error) {
    // Between the list and here a container may have been made of it.
    if (quietly) return;
    throw error;
  }
  const names = image.repoTags.length > 0 ? image.repoTags : image.repoDigests;
  const left = await daemon.images(`cannot look up the image ${image.id}`, 'ImageStatus', {
    image: { image: image.id },
  });
  const kept = new Set([...(left.image?.repoTags ?? []), ...(left.image?.repoDigests ?? [])]);
  const gone = names.filter((one) => !kept.has(one));
  context.stdout.write((gone.length > 0 ? gone : [image.id]).map((one) => `Deleted: ${one}\n`).join(''));
}
