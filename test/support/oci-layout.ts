import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { command } from './command.ts';

const indexType = 'application/vnd.oci.image.index.v1+json';
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar';

export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/** A layer that is in the layout. */
export interface Layer extends Descriptor {
  /** The digest of its tar file, not compressed. */
  diffId: string;
}

/** As the image specification's `config` has it. */
export interface ImageConfig {
  User?: string;
  Env?: string[];
  Entrypoint?: string[];
  Cmd?: string[];
  WorkingDir?: string;
  Volumes?: Record<string, object>;
  StopSignal?: string;
  Labels?: Record<string, string>;
}

const sha256 = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/**
 * A folder in the image specification's layout, made with tar alone. The same content makes the same digests, whoever makes it and when.
 *
 * @example
 * const layout = new OciLayout(folder);
 * const layer = await layout.addLayer(rootfs);
 * layout.addImage('localhost/busybox:test', [layer], { Cmd: ['sh'] });
 */
export class OciLayout {
  readonly folder: string;
  readonly #images: (Descriptor & { annotations: Record<string, string> })[] = [];

  /** @param folder is made */
  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
    writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    this.#writeIndex();
  }

  /** Packs what is in a folder, with its modes, all owned by root. */
  async addLayer(root: string, options: { gzip?: boolean } = {}): Promise<Layer> {
    const path = join(this.folder, 'layer.tar');
    const fixed = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
    await tar('--create', '--file', path, ...fixed, '--directory', root, '.');
    const layer = this.addLayerArchive(readFileSync(path), options);
    rmSync(path);
    return layer;
  }

  /** Takes a tar file as it is. */
  addLayerArchive(archive: Buffer, options: { gzip?: boolean; zstd?: boolean } = {}): Layer {
    const diffId = sha256(archive);
    if (options.zstd === true) return { ...this.#addBlob(`${layerType}+zstd`, zstdCompressSync(archive)), diffId };
    if (options.gzip !== true) return { ...this.#addBlob(layerType, archive), diffId };
    return { ...this.#addBlob(`${layerType}+gzip`, gzipSync(archive, { level: 1 })), diffId };
  }

  /**
   * @param reference the image's name, as an archive has it for who imports it, and by which skopeo finds it in the layout
   * @param layers bottom first
   */
  addImage(reference: string, layers: readonly Layer[], config: ImageConfig = {}): Descriptor {
    const described = {
      created: '1970-01-01T00:00:00Z',
      architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as string],
      os: 'linux',
      config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], ...config },
      rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    };
    const manifest = this.#addJson(manifestType, {
      schemaVersion: 2,
      mediaType: manifestType,
      config: this.#addJson(configType, described),
      layers: layers.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
    });
    const annotations = { 'io.containerd.image.name': reference, 'org.opencontainers.image.ref.name': reference };
    this.#images.push({ ...manifest, annotations });
    this.#writeIndex();
    return manifest;
  }

  /** An index of images that are in the layout, each with what it is for. */
  addIndex(
    reference: string,
    manifests: readonly (Descriptor & { platform: { os: string; architecture: string } })[],
  ): Descriptor {
    const plain = manifests.map(({ mediaType, digest, size, platform }) => ({ mediaType, digest, size, platform }));
    const index = this.#addJson(indexType, { schemaVersion: 2, mediaType: indexType, manifests: plain });
    this.#images.push({ ...index, annotations: { 'org.opencontainers.image.ref.name': reference } });
    this.#writeIndex();
    return index;
  }

  /** Packs the layout as an OCI archive. */
  async archive(path: string): Promise<void> {
    await tar('--create', '--file', path, '--directory', this.folder, 'oci-layout', 'index.json', 'blobs');
  }

  #addJson(mediaType: string, content: object): Descriptor {
    return this.#addBlob(mediaType, Buffer.from(JSON.stringify(content)));
  }

  #addBlob(mediaType: string, bytes: Buffer): Descriptor {
    const digest = sha256(bytes);
    writeFileSync(join(this.folder, 'blobs', digest.replace(':', '/')), bytes);
    return { mediaType, digest, size: bytes.length };
  }

  #writeIndex(): void {
    const index = { schemaVersion: 2, mediaType: indexType, manifests: this.#images };
    writeFileSync(join(this.folder, 'index.json'), JSON.stringify(index));
  }
}

async function tar(...args: string[]): Promise<void> {
  const { code, stderr } = await command('tar', args);
  if (code !== 0) throw new Error(`tar ${args.join(' ')}: ${stderr}`);
}
