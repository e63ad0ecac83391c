import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Code, RpcError } from '../../grpc/index.ts';
import type { Blobs } from './blobs.ts';
import {
  chooseManifest,
  mostConfigBytes,
  mostLayers,
  mostManifestBytes,
  parseManifest,
  type Descriptor,
  type Manifest,
} from './document.ts';
import { type ImageContent, imageContent, storedImage, unpackAll } from './image-content.ts';
import type { Layers } from './layers.ts';
import type { Progress } from './progress.ts';
import type { StoredImage } from './record.ts';
import { parseReference, referenceText } from './reference.ts';
import type { ExtractedFile } from './unpack/protocol.ts';
import { TaskFailure, taskError, type Unpackers } from './unpackers.ts';

export interface LoadParts {
  blobs: Blobs;
  layers: Layers;
  unpackers: Unpackers;
  pin: (chainIds: string[]) => void;
}

/** An image as an archive has it. */
interface Found {
  manifestDigest: string;
  manifest: Manifest;
  documents: string[];
  tags: string[];
}

const mostImages = 100;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';

/** Takes the images of an archive, OCI's or Docker's, compressed or not. */
export class Load {
  readonly #parts: LoadParts;
  readonly #scratch: string;
  readonly #signal: AbortSignal;
  readonly #progress: Progress;
  #byName = new Map<string, ExtractedFile>();
  #byDigest = new Map<string, ExtractedFile>();

  /** @param scratch a folder of its own, which the caller removes */
  constructor(parts: LoadParts, o: { scratch: string; signal: AbortSignal; progress: Progress }) {
    this.#parts = parts;
    this.#scratch = o.scratch;
    this.#signal = o.signal;
    this.#progress = o.progress;
  }

  /** @throws RpcError INVALID_ARGUMENT, DATA_LOSS, FAILED_PRECONDITION */
  async run(archive: Readable): Promise<StoredImage[]> {
    let failure: Error | undefined;
    archive.once('error', (error) => {
      failure = error;
    });
    try {
      const files = await this.#parts.unpackers.extract({ kind: 'extract', folder: this.#scratch }, archive, {
        signal: this.#signal,
      });
      this.#byName = new Map(files.map((file) => [file.name, file]));
      this.#byDigest = new Map(files.map((file) => [file.digest, file]));
    } catch (error) {
      if (failure !== undefined) throw failure;
      if (!(error instanceof TaskFailure) || error.failure !== 'malformed')
        throw taskError(error, 'reading the archive of images');
      throw new RpcError(Code.InvalidArgument, `this is no archive of images: ${error.message}`, { cause: error });
    }
    const index = this.#named('index.json');
    const list = this.#named('manifest.json');
    if (index === undefined && list === undefined) {
      throw new RpcError(
        Code.InvalidArgument,
        'this is no archive of images: it has neither index.json (OCI) nor manifest.json (docker save)',
      );
    }
    const found = index !== undefined ? await this.#ofOci(index) : await this.#ofDocker(list as ExtractedFile);
    const images: StoredImage[] = [];
    for (const image of found) images.push(await this.#take(image));
    return images;
  }

  async #take({ manifest, manifestDigest, documents, tags }: Found): Promise<StoredImage> {
    const { blobs, layers } = this.#parts;
    const what = tags[0] ?? manifestDigest;
    const rawConfig = await this.#document(manifest.config.digest, mostConfigBytes);
    const content: ImageContent = imageContent(manifest, rawConfig, what);
    this.#parts.pin(content.chainIds);
    this.#progress.begin(manifest.layers);
    for (const digest of [...documents, manifestDigest, manifest.config.digest]) await this.#adopt(digest, what);
    for (const layer of manifest.layers) await this.#adopt(layer.digest, what);
    const whenBlob = () => Promise.resolve();
    await unpackAll(content, what, { layers, blobs, progress: this.#progress, signal: this.#signal, whenBlob });
    return storedImage(content, { manifestDigest, tags, digests: [], documents });
  }

  async #ofOci(index: ExtractedFile): Promise<Found[]> {
    const raw = await this.#read(index, mostManifestBytes);
    const top = parseManifest(raw, 'index.json of the archive');
    if (top.kind !== 'index') throw new RpcError(Code.InvalidArgument, 'index.json of the archive is no index');
    checkCount(top.manifests);
    const images: Found[] = [];
    for (const entry of top.manifests) {
      const tags = tagsOf([
        entry.annotations['io.containerd.image.name'],
        entry.annotations['org.opencontainers.image.ref.name'],
      ]);
      const document = parseManifest(await this.#document(entry.digest, mostManifestBytes), entry.digest);
      if (document.kind === 'manifest') {
        images.push({ manifestDigest: entry.digest, manifest: document, documents: [], tags });
        continue;
      }
      const chosen = chooseManifest(document, tags[0] ?? entry.digest);
      const manifest = parseManifest(await this.#document(chosen.digest, mostManifestBytes), chosen.digest);
      if (manifest.kind !== 'manifest')
        throw new RpcError(Code.InvalidArgument, `${chosen.digest}: an index in an index is not supported`);
      images.push({ manifestDigest: chosen.digest, manifest, documents: [entry.digest], tags });
    }
    return images;
  }

  /** What `docker save` writes has no manifest: it gets one. */
  async #ofDocker(list: ExtractedFile): Promise<Found[]> {
    const malformed = new RpcError(Code.InvalidArgument, 'manifest.json of the archive is not what docker save writes');
    const entries = parseJson(await this.#read(list, mostManifestBytes));
    if (!Array.isArray(entries)) throw malformed;
    checkCount(entries);
    const images: Found[] = [];
    for (const entry of entries as unknown[]) {
      const { Config: config, Layers: layers, RepoTags: tags } = (entry ?? {}) as Record<string, unknown>;
      if (typeof config !== 'string' || !isTexts(layers)) throw malformed;
      if (layers.length > mostLayers)
        throw new RpcError(Code.InvalidArgument, `an image of the archive has more than ${mostLayers} layers`);
      const described: Omit<Descriptor, 'annotations'>[] = [];
      for (const name of layers) described.push(await this.#describeLayer(name));
      const document = {
        schemaVersion: 2,
        mediaType: manifestType,
        config: this.#describe(config, 'application/vnd.oci.image.config.v1+json'),
        layers: described,
      };
      const raw = Buffer.from(JSON.stringify(document));
      const manifestDigest = await this.#parts.blobs.put(raw, this.#scratch);
      const manifest = parseManifest(raw, manifestDigest) as Manifest;
      images.push({ manifestDigest, manifest, documents: [], tags: isTexts(tags) ? tagsOf(tags) : [] });
    }
    return images;
  }

  async #describeLayer(name: string): Promise<Omit<Descriptor, 'annotations'>> {
    const file = this.#named(name);
    const magic = file === undefined ? Buffer.alloc(4) : await firstBytes(join(this.#scratch, file.file), 4);
    const suffix = magic.readUInt16BE(0) === 0x1f8b ? '+gzip' : magic.readUInt32LE(0) === 0xfd2fb528 ? '+zstd' : '';
    return this.#describe(name, `application/vnd.oci.image.layer.v1.tar${suffix}`);
  }

  #describe(name: string, mediaType: string): Omit<Descriptor, 'annotations'> {
    const file = this.#named(name);
    if (file === undefined) throw new RpcError(Code.InvalidArgument, `the archive lacks ${JSON.stringify(name)}`);
    return { mediaType, digest: file.digest, size: file.size };
  }

  #named(name: string): ExtractedFile | undefined {
    return this.#byName.get(name);
  }

  /** The archive's file with that content; one that has the digest as its name and other content is damaged. */
  #withDigest(digest: string, what: string): ExtractedFile {
    const found = this.#byDigest.get(digest);
    if (found !== undefined) return found;
    const named = this.#named(`blobs/${digest.replace(':', '/')}`);
    if (named !== undefined)
      throw new RpcError(Code.DataLoss, `${what}: ${digest} of the archive is in fact ${named.digest}`);
    throw new RpcError(Code.InvalidArgument, `${what}: the archive lacks ${digest}`);
  }

  async #document(digest: string, mostBytes: number): Promise<Buffer> {
    const isOurs = await this.#parts.blobs.size(digest).then(
      (size) => size <= mostBytes,
      () => false,
    );
    return isOurs
      ? await this.#parts.blobs.read(digest, mostBytes)
      : await this.#read(this.#withDigest(digest, 'the archive'), mostBytes);
  }

  async #read({ name, file, size }: ExtractedFile, mostBytes: number): Promise<Buffer> {
    if (size > mostBytes)
      throw new RpcError(
        Code.InvalidArgument,
        `${JSON.stringify(name)} of the archive has more than ${mostBytes} bytes`,
      );
    return await readFile(join(this.#scratch, file));
  }

  async #adopt(digest: string, what: string): Promise<void> {
    const { blobs } = this.#parts;
    if (
      await blobs.size(digest).then(
        () => true,
        () => false,
      )
    )
      return;
    const { file } = this.#withDigest(digest, what);
    await blobs.adopt(join(this.#scratch, file), digest);
  }
}

function checkCount(images: readonly unknown[]): void {
  if (images.length > mostImages)
    throw new RpcError(Code.InvalidArgument, `the archive has more than ${mostImages} images: save fewer at once`);
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

function parseJson(content: Buffer): unknown {
  try {
    return JSON.parse(content.toString());
  } catch {
    return undefined;
  }
}

async function firstBytes(path: string, count: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(count), 0, count, 0);
    return buffer;
  } finally {
    await file.close();
  }
}

/** Names that are references; a bare tag ("latest") is none of an image. */
function tagsOf(names: (string | undefined)[]): string[] {
  const tags = new Set<string>();
  for (const name of names) {
    if (name === undefined || !/[/:]/.test(name)) continue;
    const reference = parseReference(name);
    if (reference.digest === '') tags.add(referenceText(reference));
  }
  return [...tags];
}
