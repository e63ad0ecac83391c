import { Code, RpcError } from '../../grpc/index.ts';
import type { RecordTable, Store } from '../store/index.ts';
import type { StoredImage } from './record.ts';
import { parseReference, referenceText } from './reference.ts';

/** Shorter ones are too likely to be names. */
const fewestIdDigits = 3;

/** Which images are here, and what they are called. */
export class Catalog {
  readonly #store: Store;
  readonly #table: RecordTable<StoredImage>;

  constructor(store: Store, table: RecordTable<StoredImage>) {
    this.#store = store;
    this.#table = table;
  }

  /** All of them, those too that are removed and still in use. */
  all(): StoredImage[] {
    return this.#table.values();
  }

  get(id: string): StoredImage | undefined {
    return this.#table.get(id);
  }

  /** By id or the beginning of one, tag, or digest; a short name is completed. undefined for what is no reference at all, too. */
  find(reference: string): StoredImage | undefined {
    const visible = this.all().filter(({ removed }) => !removed);
    const id = reference.startsWith('sha256:') ? reference : `sha256:${reference}`;
    const exact = visible.find((image) => image.id === id);
    if (exact !== undefined) return exact;
    const name = nameOf(reference);
    const named =
      name === undefined
        ? undefined
        : visible.find(({ tags, digests }) => tags.includes(name) || digests.includes(name));
    if (named !== undefined) return named;
    if (!new RegExp(`^sha256:[a-f0-9]{${fewestIdDigits},64}$`).test(id)) return undefined;
    const [only, ...others] = visible.filter((image) => image.id.startsWith(id));
    return others.length === 0 ? only : undefined;
  }

  /** Adds an image, or these names to it. A name is one image's only: another one loses it. */
  add(image: StoredImage): StoredImage {
    return this.#store.transaction(() => {
      for (const other of this.all()) {
        const kept = other.tags.filter((tag) => !image.tags.includes(tag));
        if (other.id !== image.id && kept.length < other.tags.length)
          this.#table.put(other.id, { ...other, tags: kept });
      }
      const present = this.get(image.id);
      const former = present?.removed === false ? present : undefined;
      const union = (some: string[] | undefined, more: string[]) => [...new Set([...(some ?? []), ...more])];
      const merged = {
        ...image,
        tags: union(former?.tags, image.tags),
        digests: union(former?.digests, image.digests),
        blobs: union(former?.blobs, image.blobs),
        createdAt: present?.createdAt ?? image.createdAt,
      };
      this.#table.put(image.id, merged);
      return merged;
    });
  }

  /**
   * Takes a name away, with an id all names; an image without a name goes. One that is in use stays, unseen.
   * @returns whether there was such an image
   */
  remove(reference: string, isInUse: (id: string) => boolean): boolean {
    const image = this.find(reference);
    if (image === undefined) return false;
    const name = nameOf(reference);
    const isNamed = name !== undefined && (image.tags.includes(name) || image.digests.includes(name));
    const left = isNamed ? withoutName(image, name) : { tags: [], digests: [] };
    if (left.tags.length + left.digests.length > 0) this.#table.put(image.id, { ...image, ...left });
    else if (isInUse(image.id)) this.#table.put(image.id, { ...image, tags: [], digests: [], removed: true });
    else this.#table.delete(image.id);
    return true;
  }

  /** Forgets an image whatever it is called. */
  forget(id: string): void {
    this.#table.delete(id);
  }
}

/** A repository's last tag takes its digests with it: nobody has asked for those. */
function withoutName(image: StoredImage, name: string): { tags: string[]; digests: string[] } {
  const tags = image.tags.filter((tag) => tag !== name);
  if (image.digests.includes(name)) return { tags, digests: image.digests.filter((digest) => digest !== name) };
  const repository = name.slice(0, name.lastIndexOf(':'));
  if (tags.some((tag) => tag.slice(0, tag.lastIndexOf(':')) === repository)) return { tags, digests: image.digests };
  return { tags, digests: image.digests.filter((digest) => !digest.startsWith(`${repository}@`)) };
}

function nameOf(reference: string): string | undefined {
  try {
    return referenceText(parseReference(reference));
  } catch (error) {
    if (error instanceof RpcError && error.code === Code.InvalidArgument) return undefined;
    throw error;
  }
}
