import assert from 'node:assert/strict';
import { createReadStream, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { childProcesses } from '../../src/linux/index.ts';
import { Images, type ImagesOptions } from '../../src/manager/images/index.ts';
import { Store } from '../../src/manager/store/index.ts';
import { command } from './command.ts';
import { type ImageConfig, OciLayout } from './oci-layout.ts';
import { nativeAddon } from './paths.ts';
import { Registry, registriesConf } from './registry.ts';
import { RegistryProxy } from './registry-proxy.ts';
import { newScratch } from './scratch.ts';
import { until } from './until.ts';

export interface ImageBedOptions {
  /** Lines of htpasswd(1). Default: the registry is open to all. */
  htpasswd?: string;
  /** Who may push there. */
  credentials?: string;
  /** Default 10. */
  stallSeconds?: number;
  /** Default: no registry is started. */
  registry?: boolean;
}

/** Beds that are open: only the last one's end can tell which processes are left. */
let openBeds = 0;

/** The images of a manager that is not there, in a folder of their own, with a registry behind a proxy. */
export class ImageBed implements AsyncDisposable {
  readonly folder: string;
  readonly #options: ImageBedOptions;
  #registry: Registry | undefined;
  #proxy: RegistryProxy | undefined;
  #store: Store | undefined;
  #images: Images | undefined;
  #layouts = 0;
  readonly inUse = new Set<string>();

  private constructor(options: ImageBedOptions) {
    this.folder = newScratch().folder;
    this.#options = options;
  }

  static async open(options: ImageBedOptions = {}): Promise<ImageBed> {
    const bed = new ImageBed(options);
    openBeds++;
    if (options.registry !== false) {
      const { htpasswd } = options;
      bed.#registry = await Registry.start({ folder: bed.folder, ...(htpasswd !== undefined && { htpasswd }) });
      bed.#proxy = await RegistryProxy.start(bed.#registry.address);
      const all = [bed.#registry.address, bed.#proxy.address, '127.0.0.1:1'];
      writeFileSync(bed.registriesConf, registriesConf(Object.fromEntries(all.map((address) => [address, address]))));
    } else writeFileSync(bed.registriesConf, '');
    await bed.start();
    return bed;
  }

  get registriesConf(): string {
    return join(this.folder, 'registries.conf');
  }

  get root(): string {
    return join(this.folder, 'images');
  }

  get images(): Images {
    assert.ok(this.#images);
    return this.#images;
  }

  get proxy(): RegistryProxy {
    assert.ok(this.#proxy);
    return this.#proxy;
  }

  /** The registry without the proxy before it. */
  get registryAddress(): string {
    assert.ok(this.#registry);
    return this.#registry.address;
  }

  /** What `Images.open` is given here. */
  imagesOptions(store: Store): ImagesOptions {
    return {
      folder: this.root,
      store,
      addon: nativeAddon,
      log: pino({ level: 'silent' }),
      config: {
        registriesConf: this.registriesConf,
        policy: '',
        authFile: '',
        unpackConcurrency: 2,
        pullProgressTimeoutSeconds: this.#options.stallSeconds ?? 10,
      },
      inUse: () => this.inUse,
    };
  }

  get storePath(): string {
    return join(this.folder, 'berth.db');
  }

  async start(): Promise<void> {
    this.#store = new Store(this.storePath);
    this.#images = await Images.open(this.imagesOptions(this.#store));
  }

  async stop(): Promise<void> {
    await this.#images?.close();
    this.#store?.[Symbol.dispose]();
    this.#images = undefined;
    this.#store = undefined;
  }

  newLayout(): OciLayout {
    return new OciLayout(join(this.folder, `layout-${++this.#layouts}`));
  }

  /** Puts an image with these layers (tar archives, bottom first) into the registry; its reference, by way of the proxy. */
  async publish(name: string, layers: Buffer[], config: ImageConfig = {}): Promise<string> {
    const layout = this.newLayout();
    layout.addImage(
      'x/y:1',
      layers.map((layer) => layout.addLayerArchive(layer, { gzip: true })),
      config,
    );
    return await this.push(layout, name);
  }

  /** Puts the layout's image "x/y:1" into the registry, as it is. */
  async push(layout: OciLayout, name: string, flags: string[] = []): Promise<string> {
    assert.ok(this.#registry);
    const { credentials } = this.#options;
    const { code, stderr } = await command('skopeo', [
      ...['--registries-conf', this.registriesConf, 'copy', '--quiet', '--preserve-digests', ...flags],
      ...(credentials === undefined ? [] : ['--dest-creds', credentials]),
      ...[`oci:${layout.folder}:x/y:1`, `docker://${this.#registry.address}/${name}`],
    ]);
    assert.equal(code, 0, stderr);
    return `${this.proxy.address}/${name}`;
  }

  /** Makes an image known without a registry. */
  async load(layers: Buffer[], reference = 'test/image:1', config: ImageConfig = {}): Promise<string> {
    const layout = this.newLayout();
    layout.addImage(
      reference,
      layers.map((layer) => layout.addLayerArchive(layer)),
      config,
    );
    const archive = `${layout.folder}.tar`;
    await layout.archive(archive);
    const [image] = await this.images.load(createReadStream(archive));
    assert.ok(image);
    return image.imageId;
  }

  /** Directories of the image's layers, topmost first. */
  layersOf(reference: string): string[] {
    const image = this.images.find(reference);
    assert.ok(image, `no image ${reference}`);
    return this.images.layers(image.id);
  }

  blobs(): string[] {
    return readdirSync(join(this.root, 'blobs/sha256'));
  }

  layers(): string[] {
    return readdirSync(join(this.root, 'layers'));
  }

  /** What is under way or was left by what has failed. */
  async assertTidy(): Promise<void> {
    await until('nothing is left in tmp', () => readdirSync(join(this.root, 'tmp')).length === 0);
  }

  /** Fails when a process or an unfinished file is left; removes everything. */
  async close(): Promise<void> {
    try {
      if (this.#images !== undefined) await this.assertTidy();
      await this.stop();
      await this.#proxy?.close();
      await this.#registry?.close();
      if (--openBeds > 0) return;
      const left = childProcesses().map((pid) => `${pid}: ${readFileSync(`/proc/${pid}/cmdline`, 'latin1')}`);
      assert.deepEqual(
        left.filter((line) => /skopeo|unpack/.test(line)),
        [],
      );
    } finally {
      await command('rm', ['-rf', this.folder]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
