import { Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import { type cri, type Init, nowNanoseconds } from '../../wire/index.ts';
import type { ImageRecord, Images } from '../images/index.ts';
import type { ContainerRecords } from '../pods/index.ts';
import type { Layout } from '../pods/index.ts';
import type { DiskUsages } from './disk-usage.ts';

const streamedAtOnce = 100;

/** runtime.v1.ImageService. */
export class ImageService {
  readonly #images: Images;
  readonly #containers: ContainerRecords;
  readonly #layout: Layout;
  readonly #disk: DiskUsages;

  constructor(images: Images, containers: ContainerRecords, layout: Layout, disk: DiskUsages) {
    this.#images = images;
    this.#containers = containers;
    this.#layout = layout;
    this.#disk = disk;
  }

  handlers(): ServiceHandlers<typeof cri.ImageService> {
    return {
      ListImages: ({ filter }) => ({ images: this.#list(filter).map(listedImage) }),
      StreamImages: ({ filter }) => batches(this.#list(filter).map(listedImage), (images) => ({ images })),
      ImageStatus: (request) => this.#status(request),
      PullImage: async ({ image, auth }, { signal }) => {
        const { id } = await this.#images.pull(referenceOf(image), { signal, ...(auth && { auth }) });
        return { imageRef: id }; // by CRI the same as Image.id and as the image_id of containers
      },
      RemoveImage: async ({ image }) => {
        await this.#images.remove(referenceOf(image));
        return {};
      },
      ImageFsInfo: () => this.#fsInfo(),
    };
  }

  #list(filter: cri.ImageFilter | undefined): ImageRecord[] {
    const reference = filter?.image?.image ?? '';
    if (reference === '') return this.#images.list();
    const image = this.#images.find(reference);
    return image === undefined ? [] : [image];
  }

  /** An image that is not here is no error: the answer has none. */
  #status({ image, verbose }: cri.ImageStatusRequest): Init<cri.ImageStatusResponse> {
    const record = this.#images.find(referenceOf(image));
    if (record === undefined) return {};
    const info = {
      chainIds: record.chainIds,
      imageSpec: { config: record.config },
      manifestDigest: record.manifestDigest,
    };
    return { image: listedImage(record), info: verbose ? { info: JSON.stringify(info) } : {} };
  }

  async #fsInfo(): Promise<Init<cri.ImageFsInfoResponse>> {
    const { path, usedBytes, inodesUsed } = await this.#images.usage();
    const writable = await Promise.all(
      this.#containers.list().map(({ id }) => this.#disk.of(this.#layout.writableLayer(id))),
    );
    const at = nowNanoseconds();
    const usage = (mountpoint: string, bytes: bigint, inodes: bigint): Init<cri.FilesystemUsage> => ({
      timestamp: at,
      fsId: { mountpoint },
      usedBytes: { value: bytes },
      inodesUsed: { value: inodes },
    });
    const total = (pick: 'bytes' | 'inodes') => writable.reduce((sum, one) => sum + one[pick], 0n);
    return {
      imageFilesystems: [usage(path, BigInt(usedBytes), BigInt(inodesUsed))],
      containerFilesystems: [usage(this.#layout.writableLayers, total('bytes'), total('inodes'))],
    };
  }
}

function referenceOf(image: cri.ImageSpec | undefined): string {
  if (image !== undefined && image.image !== '') return image.image;
  throw new RpcError(
    Code.InvalidArgument,
    'image.image is empty: name an image, such as "docker.io/library/busybox:latest"',
  );
}

/** An image as CRI lists it. */
export function listedImage(record: ImageRecord): Init<cri.Image> {
  const { id, tags, digests, sizeBytes, config, pinned } = record;
  const [user = ''] = config.user.split(':');
  const isNumber = /^\d+$/.test(user);
  return {
    id,
    repoTags: tags,
    repoDigests: digests,
    size: sizeBytes,
    ...(isNumber ? { uid: { value: BigInt(user) } } : { username: user }),
    spec: { image: tags[0] ?? digests[0] ?? id, annotations: {} },
    pinned,
  };
}

/** Many items in messages of a bounded size. */
export async function* batches<Item, Message>(
  items: readonly Item[],
  message: (items: Item[]) => Message,
): AsyncGenerator<Message, void, undefined> {
  for (let at = 0; at < items.length; at += streamedAtOnce)
    yield await Promise.resolve(message(items.slice(at, at + streamedAtOnce)));
}
