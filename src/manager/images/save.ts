import { createReadStream } from 'node:fs';
import type { Blobs } from './blobs.ts';
import { mostManifestBytes, parseManifest } from './document.ts';
import { hexOf } from './digest.ts';
import type { StoredImage } from './record.ts';
import { tarEnd, tarHeader, tarPadding } from './tar-writer.ts';

/** "oci-archive" is an OCI image layout, "docker-archive" what `docker save` writes; both are tar archives. */
export type ArchiveFormat = 'oci-archive' | 'docker-archive';

/** The bytes of an archive of one image, whose blobs must all be there. @param tags the names that it has there */
export async function* saveImage(
  image: StoredImage,
  tags: string[],
  format: ArchiveFormat,
  blobs: Blobs,
): AsyncGenerator<Buffer> {
  const manifest = parseManifest(await blobs.read(image.manifestDigest, mostManifestBytes), image.manifestDigest);
  if (manifest.kind !== 'manifest') throw new Error(`${image.manifestDigest} is no manifest`);
  const path = (digest: string) => `blobs/sha256/${hexOf(digest)}`;
  const parts = [manifest.config, ...manifest.layers];
  const isOci = format === 'oci-archive';
  if (isOci) {
    const raw = await blobs.read(image.manifestDigest, mostManifestBytes);
    const { mediaType = 'application/vnd.oci.image.manifest.v1+json' } = JSON.parse(raw.toString()) as {
      mediaType?: string;
    };
    const descriptor = { mediaType, digest: image.manifestDigest, size: raw.length };
    const named = (tags.length > 0 ? tags : [undefined]).map((tag) => ({
      ...descriptor,
      ...(tag !== undefined && {
        annotations: { 'io.containerd.image.name': tag, 'org.opencontainers.image.ref.name': tag },
      }),
    }));
    yield* json('oci-layout', { imageLayoutVersion: '1.0.0' });
    yield* json('index.json', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: named,
    });
    yield* content(path(image.manifestDigest), raw);
  } else {
    const layers = manifest.layers.map(({ digest }) => path(digest));
    yield* json('manifest.json', [{ Config: path(manifest.config.digest), RepoTags: tags, Layers: layers }]);
  }
  const written = new Set<string>();
  for (const { digest } of parts) {
    if (written.has(digest)) continue;
    written.add(digest);
    const size = await blobs.size(digest);
    yield tarHeader(path(digest), size);
    for await (const chunk of createReadStream(blobs.path(digest), { highWaterMark: 256 * 1024 }))
      yield chunk as Buffer;
    yield tarPadding(size);
  }
  yield tarEnd();
}

function* json(name: string, value: unknown): Generator<Buffer> {
  yield* content(name, Buffer.from(JSON.stringify(value)));
}

function* content(name: string, bytes: Buffer): Generator<Buffer> {
  yield tarHeader(name, bytes.length);
  yield bytes;
  yield tarPadding(bytes.length);
}
