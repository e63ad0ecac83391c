import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import type { Blobs } from './blobs.ts';
import { digestOf } from './digest.ts';
import {
  checkDigest,
  chooseManifest,
  type Descriptor,
  type Manifest,
  mostConfigBytes,
  mostManifestBytes,
  parseManifest,
} from './document.ts';
import { type ImageContent, imageContent, storedImage, unpackAll } from './image-content.ts';
import type { Layers } from './layers.ts';
import type { Progress } from './progress.ts';
import type { StoredImage } from './record.ts';
import { type Reference, referenceText } from './reference.ts';
import type { Access, Skopeo } from './skopeo.ts';
import { DiskRoom } from './unpack/disk-room.ts';
import { DiskNearlyFull } from './unpack/errors.ts';
import type { Unpackers } from './unpackers.ts';

export interface PullParts {
  blobs: Blobs;
  layers: Layers;
  skopeo: Skopeo;
  unpackers: Unpackers;
  /** Keeps layers from being collected until the pull is over. */
  pin: (chainIds: string[]) => void;
  /** An image that is here, whole, and that has been pulled by that name and digest before. */
  known: (nameAndDigest: string) => StoredImage | undefined;
}

/** One image on its way here. */
export class Pull {
  readonly #parts: PullParts;
  readonly #reference: Reference;
  readonly #access: Access;
  readonly #scratch: string;
  readonly #progress: Progress;
  readonly #abort = new AbortController();

  /** @param scratch a folder of its own, which the caller removes */
  constructor(
    parts: PullParts,
    o: { reference: Reference; authFile: string | undefined; signal: AbortSignal; scratch: string; progress: Progress },
  ) {
    this.#parts = parts;
    this.#reference = o.reference;
    this.#scratch = o.scratch;
    this.#progress = o.progress;
    this.#access = { authFile: o.authFile, signal: AbortSignal.any([o.signal, this.#abort.signal]) };
  }

  /** @throws RpcError; nothing of it runs any more then */
  async run(): Promise<StoredImage> {
    const text = referenceText(this.#reference);
    const { name, digest } = this.#reference;
    const raw = await this.#parts.skopeo.manifest(text, this.#access);
    if (digest !== '') checkDigest(raw, digest, text);
    const topDigest = digestOf(raw);
    const known = this.#parts.known(`${name}@${topDigest}`);
    if (known !== undefined) return { ...known, tags: this.#tags() };

    const top = parseManifest(raw, text);
    await this.#parts.blobs.put(raw, this.#scratch);
    const chosen = top.kind === 'index' ? chooseManifest(top, text).digest : topDigest;
    const source = `${name}@${chosen}`;
    const content = await this.#bring(source, chosen, top.kind === 'manifest' ? top : undefined);
    return storedImage(content, {
      manifestDigest: chosen,
      tags: this.#tags(),
      digests: [...new Set([`${name}@${topDigest}`, source])],
      documents: [topDigest],
    });
  }

  #tags(): string[] {
    return this.#reference.digest === '' ? [referenceText(this.#reference)] : [];
  }

  /** Downloads and unpacks; the first thing that fails ends the rest. */
  async #bring(source: string, digest: string, manifest: Manifest | undefined): Promise<ImageContent> {
    const arrivals = new Arrivals(this.#parts.blobs);
    const layout = join(this.#scratch, 'layout');
    mkdirSync(layout);
    const { blobs, skopeo } = this.#parts;
    const onTick = () => arrivals.look(layout, this.#progress);
    const copying = skopeo
      .copy(source, { ...this.#access, layout, blobs: blobs.folder, onTick })
      .then(() => arrivals.end(source));
    const unpacking = this.#unpack(source, digest, manifest, arrivals);
    const both = [copying, unpacking];
    try {
      const [, content] = await Promise.all([copying, unpacking]);
      return content;
    } catch (error) {
      this.#abort.abort(error);
      arrivals.fail(error);
      await Promise.allSettled(both);
      throw error;
    }
  }

  async #unpack(
    source: string,
    digest: string,
    given: Manifest | undefined,
    arrivals: Arrivals,
  ): Promise<ImageContent> {
    const { blobs, layers, skopeo, unpackers } = this.#parts;
    const manifest = given ?? (await this.#manifest(source, digest));
    arrivals.expect(manifest);
    this.#progress.begin(manifest.layers);
    unpackers.prepare(manifest.layers.length);
    const { config } = manifest;
    const rawConfig = await this.#document(config, mostConfigBytes, () => skopeo.config(source, this.#access));
    const content = imageContent(manifest, rawConfig, source);
    this.#parts.pin(content.chainIds);
    const whenBlob = async (index: number) => {
      await arrivals.whenThere(index);
      this.#progress.downloaded(index);
    };
    await unpackAll(content, source, {
      layers,
      blobs,
      progress: this.#progress,
      signal: this.#access.signal,
      whenBlob,
    });
    return content;
  }

  async #manifest(source: string, digest: string): Promise<Manifest> {
    const { skopeo } = this.#parts;
    const raw = await this.#document({ digest }, mostManifestBytes, () => skopeo.manifest(source, this.#access));
    const manifest = parseManifest(raw, source);
    if (manifest.kind === 'manifest') return manifest;
    throw new RpcError(Code.FailedPrecondition, `${source}: an index in an index is not supported`);
  }

  /** A manifest or configuration: what is here, else what the registry has. */
  async #document(
    { digest, size }: Pick<Descriptor, 'digest'> & Partial<Descriptor>,
    mostBytes: number,
    fetch: () => Promise<Buffer>,
  ): Promise<Buffer> {
    const { blobs } = this.#parts;
    const isHere = await blobs.size(digest).then(
      (found) => size === undefined || found === size,
      () => false,
    );
    if (isHere) return await blobs.read(digest, mostBytes);
    const content = await fetch();
    checkDigest(content, digest, `a part of ${referenceText(this.#reference)}`);
    await blobs.put(content, this.#scratch);
    return content;
  }
}

const slackBytes = 64 * 1024;

/** Which of the layers' blobs have come. skopeo writes each into a file of its own and renames that when it is whole. */
class Arrivals {
  readonly #blobs: Blobs;
  readonly #room: DiskRoom;
  readonly #waiting = new Map<number, { come: () => void; fail: (error: unknown) => void }>();
  #layers: readonly Descriptor[] = [];
  /** No blob of the image has more bytes. */
  #mostBytes = Infinity;
  #bytes = 0;
  #isOver = false;
  #failure: { error: unknown } | undefined;

  constructor(blobs: Blobs) {
    this.#blobs = blobs;
    this.#room = new DiskRoom(blobs.folder);
  }

  expect({ layers, config }: Manifest): void {
    this.#layers = layers;
    this.#mostBytes = Math.max(...[...layers, config].map(({ size }) => size)) + slackBytes;
  }

  /** Looks what has come; the sum of all bytes. @throws RpcError DATA_LOSS when more comes than the manifest promises; RESOURCE_EXHAUSTED */
  look(layout: string, progress: Progress): number {
    for (const [index, { come }] of this.#waiting) {
      if (!this.#isThere(index)) continue;
      this.#waiting.delete(index);
      come();
    }
    const sizes = partSizes(layout);
    if (sizes.some((size) => size > this.#mostBytes))
      throw new RpcError(Code.DataLoss, 'the registry sends more bytes of a blob than the manifest promises');
    progress.downloading(sizes);
    const there = this.#layers.filter((_, index) => this.#isThere(index));
    const bytes = [...sizes, ...there.map(({ size }) => size)].reduce((sum, size) => sum + size, 0);
    this.#take(bytes - this.#bytes);
    this.#bytes = bytes;
    return bytes;
  }

  async whenThere(index: number): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#isThere(index)) return;
    if (this.#isOver) throw this.#missing(index);
    await new Promise<void>((resolve, reject) => this.#waiting.set(index, { come: resolve, fail: reject }));
  }

  /** skopeo is done: all is there. */
  end(source: string): void {
    this.#isOver = true;
    for (const [index, { come, fail }] of this.#waiting) {
      if (this.#isThere(index)) come();
      else fail(this.#missing(index, source));
    }
    this.#waiting.clear();
  }

  fail(error: unknown): void {
    this.#failure = { error };
    for (const { fail } of this.#waiting.values()) fail(error);
    this.#waiting.clear();
  }

  #take(bytes: number): void {
    try {
      this.#room.takeBytes(Math.max(0, bytes));
    } catch (error) {
      if (error instanceof DiskNearlyFull) throw new RpcError(Code.ResourceExhausted, error.message, { cause: error });
      throw error;
    }
  }

  #isThere(index: number): boolean {
    const layer = this.#layers[index] as Descriptor;
    return statSync(this.#blobs.path(layer.digest), { throwIfNoEntry: false })?.size === layer.size;
  }

  #missing(index: number, source = 'the image'): RpcError {
    const { digest, size } = this.#layers[index] as Descriptor;
    return new RpcError(
      Code.DataLoss,
      `${source}: its layer ${digest} has not come with the ${size} bytes that its manifest promises`,
    );
  }
}

/** Bytes of what is being downloaded, in the order in which it was begun. */
function partSizes(layout: string): number[] {
  const parts = readdirSync(layout)
    .filter((name) => name.startsWith('oci-put-blob'))
    .map((name) => statSync(join(layout, name), { throwIfNoEntry: false }))
    .filter((stats) => stats !== undefined);
  return parts.sort((a, b) => a.birthtimeMs - b.birthtimeMs).map(({ size }) => size);
}
