import { nowNanoseconds } from '../../wire/index.ts';
import { Code, RpcError } from '../../grpc/index.ts';
import type { Blobs } from './blobs.ts';
import { chainIds } from './digest.ts';
import { type ConfigDocument, type Manifest, parseConfig } from './document.ts';
import type { Layers } from './layers.ts';
import type { Progress } from './progress.ts';
import type { StoredImage } from './record.ts';

/** A manifest and the configuration that belongs to it. */
export interface ImageContent {
  manifest: Manifest;
  config: ConfigDocument;
  /** Of the layers, bottom first. */
  chainIds: string[];
}

/** @throws RpcError FAILED_PRECONDITION when they do not fit each other */
export function imageContent(manifest: Manifest, rawConfig: Buffer, image: string): ImageContent {
  const config = parseConfig(rawConfig, image);
  if (config.diffIds.length !== manifest.layers.length) {
    const counts = `${manifest.layers.length} layers, but its configuration ${config.diffIds.length}`;
    throw new RpcError(Code.FailedPrecondition, `${image}: its manifest has ${counts}; it has to be built again`);
  }
  return { manifest, config, chainIds: chainIds(config.diffIds) };
}

/** Unpacks what is not unpacked, several at once, each as soon as its blob is there. */
export async function unpackAll(
  content: ImageContent,
  image: string,
  o: {
    layers: Layers;
    blobs: Blobs;
    progress: Progress;
    signal: AbortSignal;
    whenBlob: (index: number) => Promise<void>;
  },
): Promise<void> {
  const { manifest, config, chainIds: chain } = content;
  let below: Promise<unknown> = Promise.resolve();
  const all = chain.map((chainId, index) => {
    const whenBelow = below;
    const done = (async () => {
      const { digest } = manifest.layers[index] as Manifest['layers'][number];
      if (!o.layers.has(chainId)) {
        await o.whenBlob(index);
        const onProgress = (bytes: number) => o.progress.unpacking(index, bytes);
        const wanted = {
          chainId,
          diffId: config.diffIds[index] as string,
          blob: o.blobs.path(digest),
          blobDigest: digest,
          below: chain.slice(0, index),
          image,
        };
        try {
          await o.layers.ensure(wanted, { signal: o.signal, whenBelow, onProgress });
        } catch (error) {
          // So that the next attempt brings it anew.
          if (error instanceof RpcError && error.code === Code.DataLoss) o.blobs.delete(digest);
          throw error;
        }
      }
      o.progress.done(index);
    })();
    done.catch(() => undefined); // seen below
    below = done;
    return done;
  });
  await Promise.all(all);
}

/** What is to be kept of it. */
export function storedImage(
  content: ImageContent,
  o: { manifestDigest: string; tags: string[]; digests: string[]; documents: string[] },
): StoredImage {
  const { config: descriptor, layers } = content.manifest;
  return {
    id: descriptor.digest,
    tags: o.tags,
    digests: o.digests,
    sizeBytes: layers.reduce((sum, { size }) => sum + size, descriptor.size),
    config: content.config.config,
    chainIds: content.chainIds,
    manifestDigest: o.manifestDigest,
    createdAt: String(nowNanoseconds()),
    blobs: [...new Set([...o.documents, o.manifestDigest, descriptor.digest, ...layers.map(({ digest }) => digest)])],
    removed: false,
  };
}
