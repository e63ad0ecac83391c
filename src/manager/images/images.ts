import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import { Code, RpcError, toRpcError } from '../../grpc/index.ts';
import type { berth } from '../../wire/index.ts';
import type { Config } from '../config/config.ts';
import { jsonFormat, type Store } from '../store/index.ts';
import { Blobs } from './blobs.ts';
import { Catalog } from './catalog.ts';
import { type Credentials, credentialsKey, writeAuthFile } from './credentials.ts';
import { Layers } from './layers.ts';
import { Load } from './load.ts';
import { type LayerProgress, Progress } from './progress.ts';
import { Pull } from './pull.ts';
import type { ImageRecord, StoredImage, StoredLayer } from './record.ts';
import { parseReference, type Reference, referenceText } from './reference.ts';
import { type ArchiveFormat, saveImage } from './save.ts';
import { Scratch } from './scratch.ts';
import { SharedWork } from './shared-work.ts';
import { Skopeo } from './skopeo.ts';
import { Unpackers } from './unpackers.ts';

export interface ImagesOptions {
  /** ROOT/images; it is made. */
  folder: string;
  store: Store;
  /** Path of the addon, which the processes that unpack load. */
  addon: string;
  log: Logger;
  config: Config['images'];
  /** Ids of the images that containers use, those too that are just being made. */
  inUse: () => ReadonlySet<string>;
  /** An image that is not to be removed to free space. */
  pauseImage?: string;
}

export interface PullOptions {
  auth?: Credentials;
  /** Ends this caller's wait; the pull ends when nobody waits for it any more. */
  signal?: AbortSignal;
  /** All layers as they stand, each time. */
  onProgress?: (layers: LayerProgress[]) => void;
}

export interface ImagesUsage {
  path: string;
  usedBytes: number;
  inodesUsed: number;
}

const run = promisify(execFile);
const hostPolicy = '/etc/containers/policy.json';
const syncMilliseconds = 120_000;

/** The images of this machine: pulled, loaded, kept, unpacked, and collected when nobody needs them any more. */
export class Images {
  readonly #options: ImagesOptions;
  readonly #log: Logger;
  readonly #scratch: Scratch;
  readonly #blobs: Blobs;
  readonly #layers: Layers;
  readonly #catalog: Catalog;
  readonly #unpackers: Unpackers;
  readonly #skopeo: Skopeo;
  readonly #pulls = new SharedWork<StoredImage>();
  readonly #listeners = new Map<string, Set<(layers: LayerProgress[]) => void>>();
  readonly #pins = new Map<string, number>();
  readonly #pauseImage: string;
  /** Pulls, loads and saves under way: while there are any, blobs stay. */
  #active = 0;
  #collecting: Promise<void> = Promise.resolve();
  #collectLater = false;
  #syncing: Promise<void> | undefined;
  readonly #closing = new AbortController();

  /** Finishes or removes what a crash has left. */
  static async open(options: ImagesOptions): Promise<Images> {
    const images = new Images(options);
    await images.#recover();
    return images;
  }

  private constructor(options: ImagesOptions) {
    const { folder, store, config, log, addon } = options;
    this.#options = options;
    this.#log = log;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#scratch = new Scratch(join(folder, 'tmp'));
    this.#blobs = new Blobs(join(folder, 'blobs'));
    this.#unpackers = new Unpackers(config.unpackConcurrency, addon);
    this.#layers = new Layers({
      folder: join(folder, 'layers'),
      table: store.table('image_layers', jsonFormat<StoredLayer>()),
      scratch: this.#scratch,
      unpackers: this.#unpackers,
      log,
    });
    this.#catalog = new Catalog(store, store.table('images', jsonFormat<StoredImage>()));
    this.#skopeo = new Skopeo({
      registriesConf: config.registriesConf,
      policy: policyFile(config.policy, folder),
      stallSeconds: config.pullProgressTimeoutSeconds,
    });
    const { pauseImage = '' } = options;
    this.#pauseImage = pauseImage === '' ? '' : referenceText(parseReference(pauseImage));
  }

  async #recover(): Promise<void> {
    await this.#scratch.open();
    await this.#layers.open();
    for (const { id, tags, chainIds } of this.#catalog.all()) {
      if (chainIds.every((chainId) => this.#layers.has(chainId))) continue;
      this.#log.warn({ image: id, tags }, 'an image has lost a layer: forgotten, pull it again');
      this.#catalog.forget(id);
    }
    await this.collectGarbage();
  }

  list(): ImageRecord[] {
    return this.#catalog
      .all()
      .filter(({ removed }) => !removed)
      .map((image) => this.#record(image));
  }

  /** By tag, digest, id or the beginning of an id; "busybox" is completed. undefined for what is no reference, too. */
  find(reference: string): ImageRecord | undefined {
    const image = this.#catalog.find(reference);
    return image === undefined ? undefined : this.#record(image);
  }

  /**
   * Brings an image here. The registry is asked for the manifest each time; what is here is not downloaded again. Whoever asks for the
   * same with the same credentials joins.
   * @throws RpcError INVALID_ARGUMENT, NOT_FOUND, UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE, DATA_LOSS, DEADLINE_EXCEEDED…
   */
  async pull(reference: string, { auth = {}, signal, onProgress }: PullOptions = {}): Promise<ImageRecord> {
    const parsed = parseReference(reference);
    const name = JSON.stringify([referenceText(parsed), credentialsKey(auth)]);
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    if (onProgress !== undefined) listeners.add(onProgress);
    try {
      const progress = new Progress((layers) => listeners.forEach((tell) => tell(layers)));
      const image = await this.#pulls.join(name, signal, (working) => this.#pull(parsed, auth, working, progress));
      return this.#record(image);
    } catch (error) {
      throw asCancelled(error);
    } finally {
      if (onProgress !== undefined) listeners.delete(onProgress);
      if (listeners.size === 0 && this.#listeners.get(name) === listeners) this.#listeners.delete(name);
    }
  }

  async #pull(reference: Reference, auth: Credentials, signal: AbortSignal, progress: Progress): Promise<StoredImage> {
    return await this.#work(async (scratch, pin) => {
      const began = performance.now();
      const authFile = writeAuthFile(reference, auth, this.#options.config.authFile, scratch);
      const known = (nameAndDigest: string) => this.#known(nameAndDigest);
      const parts = {
        blobs: this.#blobs,
        layers: this.#layers,
        skopeo: this.#skopeo,
        unpackers: this.#unpackers,
        pin,
        known,
      };
      const pull = new Pull(parts, { reference, authFile, signal, scratch, progress });
      const image = this.#catalog.add(await pull.run());
      this.#log.info(
        { image: referenceText(reference), id: image.id, milliseconds: Math.round(performance.now() - began) },
        'pulled',
      );
      return image;
    });
  }

  /** An image that has been brought here by that name and digest, and is whole. */
  #known(nameAndDigest: string): StoredImage | undefined {
    return this.#catalog.all().find(({ digests, removed }) => !removed && digests.includes(nameAndDigest));
  }

  /** Takes a name away, with an id all names of the image; what is not there is removed already. Layers in use stay. */
  async remove(reference: string): Promise<void> {
    const inUse = this.#options.inUse();
    if (this.#catalog.remove(reference, (id) => inUse.has(id))) await this.collectGarbage();
  }

  /**
   * The directories that an image's root file system is laid over, topmost first.
   * @throws RpcError NOT_FOUND
   */
  layers(imageId: string): string[] {
    const image = this.#catalog.get(imageId);
    if (image === undefined) throw new RpcError(Code.NotFound, `no image ${imageId}: pull it first`);
    return image.chainIds.map((chainId) => this.#layers.root(chainId)).reverse();
  }

  /** Takes the images of an archive: OCI's or Docker's, also compressed. */
  async load(archive: Readable, { signal, onProgress }: Omit<PullOptions, 'auth'> = {}): Promise<berth.LoadedImage[]> {
    return await this.#work(async (scratch, pin) => {
      const progress = new Progress((layers) => onProgress?.(layers));
      const parts = { blobs: this.#blobs, layers: this.#layers, unpackers: this.#unpackers, pin };
      const load = new Load(parts, { scratch, progress, signal: signal ?? new AbortController().signal });
      const images = await load.run(archive);
      return images.map((image) => {
        const { id: imageId } = this.#catalog.add(image);
        return { imageId, tags: image.tags };
      });
    });
  }

  /** The bytes of an archive with one image; errors come through the stream, but for NOT_FOUND and INVALID_ARGUMENT, which are thrown. */
  save(reference: string, format: ArchiveFormat = 'oci-archive'): Readable {
    if (!(['oci-archive', 'docker-archive'] as string[]).includes(format)) {
      throw new RpcError(
        Code.InvalidArgument,
        `"${format}" is no format for archives: use oci-archive or docker-archive`,
      );
    }
    const image = this.#catalog.find(reference);
    if (image === undefined)
      throw new RpcError(Code.NotFound, `no image "${reference}": list them with "berthctl images"`);
    const asked = image.tags.filter((tag) => tag === reference || tag === completed(reference));
    const tags = asked.length > 0 ? asked : image.tags;
    const archive = saveImage(image, tags, format, this.#blobs);
    return Readable.from(this.#whileActive(archive), { objectMode: false });
  }

  async *#whileActive(archive: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
    this.#active++;
    try {
      for await (const chunk of archive) if (chunk.length > 0) yield chunk;
    } finally {
      this.#leave();
    }
  }

  async usage(): Promise<ImagesUsage> {
    const layers = this.#layers.usage();
    const blobs = await this.#blobs.usage();
    return {
      path: this.#options.folder,
      usedBytes: layers.bytes + blobs.bytes,
      inodesUsed: layers.inodes + blobs.inodes,
    };
  }

  /** Removes layers and blobs that no image and no container needs. To be called when containers have gone. */
  async collectGarbage(): Promise<void> {
    const collected = this.#collecting.then(() => this.#collect());
    this.#collecting = collected.catch(() => undefined);
    await collected;
  }

  /** Ends what goes on in the background; calls that are under way are their callers' to end. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#collecting;
    await this.#syncing;
    await this.#unpackers.close();
  }

  async #collect(): Promise<void> {
    const inUse = this.#options.inUse();
    for (const { id, removed } of this.#catalog.all()) if (removed && !inUse.has(id)) this.#catalog.forget(id);
    const layers = await this.#layers.sweep(
      (chainId) => this.#pins.has(chainId) || this.#catalog.all().some((image) => image.chainIds.includes(chainId)),
    );
    let blobs = 0;
    this.#collectLater = this.#active > 0;
    if (!this.#collectLater) {
      const needed = new Set(this.#catalog.all().flatMap((image) => image.blobs));
      blobs = this.#blobs.sweep((digest) => needed.has(digest));
    }
    if (layers + blobs > 0) this.#log.info({ layers, blobs }, 'collected what no image needs');
  }

  /** Something that brings images: with a folder of its own, and layers that stay until it is over. */
  async #work<T>(work: (scratch: string, pin: (chainIds: string[]) => void) => Promise<T>): Promise<T> {
    const pinned: string[] = [];
    const pin = (chainIds: string[]) => {
      for (const chainId of chainIds) this.#pins.set(chainId, (this.#pins.get(chainId) ?? 0) + 1);
      pinned.push(...chainIds);
    };
    this.#active++;
    const scratch = this.#scratch.make();
    try {
      return await work(scratch, pin);
    } catch (error) {
      this.#collectLater = true;
      throw toRpcError(asCancelled(error));
    } finally {
      for (const chainId of pinned) {
        const left = (this.#pins.get(chainId) ?? 1) - 1;
        if (left > 0) this.#pins.set(chainId, left);
        else this.#pins.delete(chainId);
      }
      await this.#scratch.discard(scratch);
      this.#leave();
      this.#syncSoon();
    }
  }

  #leave(): void {
    this.#active--;
    if (this.#active > 0 || !this.#collectLater) return;
    this.collectGarbage().catch((error: unknown) =>
      this.#log.error({ err: error }, 'collecting unneeded layers and blobs failed'),
    );
  }

  /** In the background: layers that have reached the disk are good after a power failure, too. */
  #syncSoon(): void {
    if (this.#syncing !== undefined || this.#closing.signal.aborted) return;
    const layers = this.#layers.unsynced();
    if (layers.length === 0) return;
    this.#syncing = run('sync', ['--file-system', this.#options.folder], {
      timeout: syncMilliseconds,
      signal: this.#closing.signal,
    })
      .then(() => this.#layers.noteSynced(layers))
      .catch((error: unknown) => {
        if (this.#closing.signal.aborted) return;
        this.#log.warn({ err: error }, 'new layers may be lost by a power failure: sync failed');
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  #record(image: StoredImage): ImageRecord {
    const { id, tags, digests, sizeBytes, config, chainIds, manifestDigest, createdAt } = image;
    const pinned = this.#pauseImage !== '' && [...tags, ...digests].includes(this.#pauseImage);
    return { id, tags, digests, sizeBytes, config, chainIds, manifestDigest, createdAt, pinned };
  }
}

/** The configured policy, else the host's, else one that accepts anything. */
function policyFile(configured: string, folder: string): string {
  if (configured !== '') return configured;
  if (existsSync(hostPolicy)) return hostPolicy;
  const path = join(folder, 'policy.json');
  writeFileSync(path, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }), { mode: 0o600 });
  return path;
}

function completed(reference: string): string {
  try {
    return referenceText(parseReference(reference));
  } catch {
    return '';
  }
}

function asCancelled(error: unknown): unknown {
  const isAbort = error instanceof Error && error.name === 'AbortError';
  return isAbort ? new RpcError(Code.Cancelled, 'the caller no longer waits', { cause: error }) : error;
}
