import type { cri } from '../wire/index.ts';
import type { Daemon } from './daemon.ts';
import { UsageError } from './failure.ts';
import type { OptionSpecs } from './options.ts';

export const imageFilters = {
  filter: {
    type: 'list',
    short: 'f',
    value: 'FILTER',
    help: 'dangling=true|false, reference=PATTERN, before=IMAGE or since=IMAGE; several are combined',
  },
} as const satisfies OptionSpecs;

/** In the order of their names. @throws {Failure} */
export async function listImages(daemon: Daemon, name: string, filters: readonly string[]): Promise<cri.Image[]> {
  const { images } = await daemon.images('cannot list images', 'ListImages', { filter: { image: { image: name } } });
  const sorted = images.toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1));
  return filters.reduce(filterImages, sorted);
}

function orderOf({ repoTags, repoDigests, id }: cri.Image): string {
  return repoTags[0] ?? repoDigests[0] ?? id;
}

function filterImages(images: cri.Image[], filter: string): cri.Image[] {
  const at = filter.indexOf('=');
  const value = filter.slice(at + 1);
  switch (filter.slice(0, Math.max(at, 0))) {
    case 'dangling':
      if (value !== 'true' && value !== 'false')
        throw new UsageError(`--filter dangling is true or false, not "${value}"`);
      return images.filter(({ repoTags }) => (repoTags.length === 0) === (value === 'true'));
    case 'reference': {
      const pattern = patternOf(value);
      return images.filter(({ repoTags, repoDigests }) =>
        [...repoTags, ...repoDigests].some((name) => pattern.test(name)),
      );
    }
    // By their place in the list, as crictl has it: CRI does not say when an image was made.
    case 'since':
      return images.slice(0, placeOf(images, value) ?? images.length);
    case 'before': {
      const place = placeOf(images, value);
      return place === undefined ? images : images.slice(place + 1);
    }
    default:
      throw new UsageError(`--filter is dangling=, reference=, before= or since=, not "${filter}"`);
  }
}

function patternOf(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new UsageError(`--filter reference= is no regular expression: "${text}"`);
  }
}

function placeOf(images: readonly cri.Image[], wanted: string): number | undefined {
  const place = images.findIndex(
    ({ id, repoTags, repoDigests }) =>
      repoTags.includes(wanted) ||
      repoDigests.includes(wanted) ||
      id.replace(/^sha256:/, '').startsWith(wanted.replace(/^sha256:/, '')),
  );
  return place < 0 ? undefined : place;
}

const none = '<none>';

/** Name and tag, a pair for each tag; the name alone where the image was pulled by its digest. */
export function namesOf({ repoTags, repoDigests }: cri.Image): (readonly [name: string, tag: string])[] {
  const named = repoDigests[0]?.split('@')[0] ?? none;
  if (repoTags.length === 0) return [[named, none]];
  return repoTags.map((tag) => {
    const at = tag.lastIndexOf(':');
    const name = tag.slice(0, Math.max(at, 0));
    return [name === none ? named : name, tag.slice(at + 1)];
  });
}

/** "sha256:..", or "<none>". */
export function digestOf({ repoDigests }: cri.Image): string {
  return repoDigests[0]?.split('@')[1] ?? none;
}
