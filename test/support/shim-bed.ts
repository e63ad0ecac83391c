import { existsSync, mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type BundleOptions, makeBundle } from './bundle.ts';
import { EventsSink } from './events-sink.ts';
import { FifoReader, makeFifos } from './fifo.ts';
import { leftovers, settled, sweep, sweepWhenInterrupted } from './leftovers.ts';
import { MountNamespace, type Place, thisMachine } from './mount-namespace.ts';
import { type OciRuntime, ociRuntimes, shimBinary } from './paths.ts';
import { makeBusyboxRootfs } from './rootfs.ts';
import { markVariable, newScratch, type Scratch } from './scratch.ts';
import { type CreateOptions, runcOptions, ShimClient, type ShimOptions } from './shim-client.ts';

/** Magic numbers of cgroup v1 and cgroup2, as statfs gives them. */
const cgroupFileSystems = [0x27e0eb, 0x63677270];

export interface ShimBedOptions {
  /** The shim's program. Default: the one that is tested. */
  shim?: string;
  /** The OCI runtime of the containers. Default runc. */
  runtime?: OciRuntime;
  /** Added to the environment of every shim. */
  env?: NodeJS.ProcessEnv;
  /** Default: a mount namespace of its own with an empty /run, so that all that a shim leaves there is seen. */
  place?: Place;
}

export type ContainerOptions = Partial<Omit<BundleOptions, 'id' | 'args' | 'env'>> &
  Partial<Omit<ShimOptions, 'id' | 'bundle'>>;

/** A container's output, read through FIFOs as a client does. */
export interface Stdio {
  stdin: string;
  stdout: string;
  stderr: string;
  output: FifoReader;
  errors: FifoReader;
}

/**
 * Shims driven directly, without a containerd: a scratch folder, a root file system, a sink for events. When it is closed nothing
 * of it may be left on the machine.
 *
 * @example
 * const bed = await ShimBed.open(t);
 * const container = await bed.shim('one', ['echo', 'hello']);
 * const { output, ...stdio } = bed.stdio('one');
 * await container.create(stdio);
 */
export class ShimBed implements AsyncDisposable {
  readonly scratch: Scratch;
  readonly place: Place;
  readonly runtime: OciRuntime;
  /** A busybox root file system. Containers see it read-only. */
  readonly rootfs: string;
  /** Where all shims of the bed send their events. */
  sink: EventsSink;
  readonly #shim: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #mountsBefore: string[];
  readonly #clients: ShimClient[] = [];
  readonly #readers: FifoReader[] = [];

  private constructor(scratch: Scratch, place: Place, sink: EventsSink, options: ShimBedOptions) {
    const { shim = shimBinary, runtime = 'runc', env = {} } = options;
    this.scratch = scratch;
    this.place = place;
    this.runtime = runtime;
    this.sink = sink;
    this.#shim = shim;
    this.#env = { [markVariable]: scratch.mark, BERTH_RUNTIME: runtime, ...env };
    this.#mountsBefore = place.mountPoints();
    this.rootfs = this.path('rootfs');
    makeBusyboxRootfs(this.rootfs);
    mkdirSync(this.path('bundles'));
  }

  /** Opens one; with a test's context it is closed when the test ends. */
  static async open(t?: TestContext, options: ShimBedOptions = {}): Promise<ShimBed> {
    const scratch = newScratch();
    sweepWhenInterrupted(scratch);
    const { runtime = 'runc' } = options;
    const place = options.place ?? (await MountNamespace.open({ withoutUnifiedCgroup: runtime === 'crun' }));
    const bed = new ShimBed(scratch, place, await EventsSink.listen(join(scratch.folder, 'events.sock')), options);
    t?.after(() => bed.close());
    return bed;
  }

  /** A path in the bed's folder. */
  path(...names: string[]): string {
    return join(this.scratch.folder, ...names);
  }

  /** Makes a bundle and gives what `shim start` needs for it. */
  bundle(id: string, args: string[], options: ContainerOptions = {}): ShimOptions {
    const { shim = this.#shim, namespace = this.scratch.mark, eventsAddress = this.sink.path, env, ...rest } = options;
    const cgroupsPath = `/${this.scratch.mark}/${id}`;
    const bundle = makeBundle(this.path('bundles'), { rootfs: this.rootfs, cgroupsPath, ...rest, id, args });
    return { ...rest, shim, bundle, id, namespace, eventsAddress, env: { ...this.#env, ...env }, place: this.place };
  }

  /** Makes a bundle and starts the container's shim; the container is not created yet. */
  async shim(id: string, args: string[], options?: ContainerOptions): Promise<ShimClient> {
    return this.track(await ShimClient.start(this.bundle(id, args, options)));
  }

  /** Makes FIFOs for a process and reads its output from now on. */
  stdio(name: string): Stdio {
    const [stdin, stdout, stderr] = ['in', 'out', 'err'].map((part) => this.path(`${name}.${part}`)) as [
      string,
      string,
      string,
    ];
    makeFifos(stdin, stdout, stderr);
    const output = this.reader(stdout);
    return { stdin, stdout, stderr, output, errors: this.reader(stderr) };
  }

  reader(...args: ConstructorParameters<typeof FifoReader>): FifoReader {
    const reader = new FifoReader(...args);
    this.#readers.push(reader);
    return reader;
  }

  /** Create with the bed's OCI runtime. */
  async create(client: ShimClient, options: CreateOptions = {}): Promise<number> {
    return client.create({ options: runcOptions({ binaryName: ociRuntimes[this.runtime] }), ...options });
  }

  /** A container that runs, its shim and its stdio: `shim`, `stdio`, `create` and Start in one. */
  async running(
    id: string,
    args: string[],
    options?: ContainerOptions,
  ): Promise<{ client: ShimClient; stdio: Stdio; pid: number }> {
    const client = await this.shim(id, args, options);
    const stdio = this.stdio(id);
    const { stdin, stdout, stderr } = stdio;
    await this.create(client, { stdin, stdout, stderr, terminal: options?.terminal ?? false });
    return { client, stdio, pid: await client.startTask() };
  }

  /** Ends the container, and its shim, when the bed is closed. */
  track(client: ShimClient): ShimClient {
    this.#clients.push(client);
    return client;
  }

  /** Ends every container; fails if anything is left then, and removes it in any case. */
  async close(): Promise<void> {
    let left: string[] = [];
    try {
      for (const client of this.#clients.reverse()) await client[Symbol.asyncDispose]();
      for (const reader of this.#readers) reader.close();
      await this.sink[Symbol.asyncDispose]();
      left = await settled(() =>
        leftovers(this.scratch, this.place, this.#mountsBefore).filter((line) => !isOurs(line)),
      );
    } finally {
      await sweep(this.scratch, () => (this.place === thisMachine ? Promise.resolve() : this.place.close()));
    }
    if (left.length > 0) throw new Error(`left behind:\n  ${left.join('\n  ')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** FIFOs in the scratch folder are the tests' own; folders that crun makes where a cgroup2 mount could be are no cgroups. */
function isOurs(line: string): boolean {
  const [kind, path = ''] = line.split(' ');
  return (
    kind === 'FIFO' || (kind === 'cgroup' && existsSync(path) && !cgroupFileSystems.includes(statfsSync(path).type))
  );
}
