import { execFileSync } from 'node:child_process';
import { copyFileSync, createReadStream, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { GrpcClient } from '../../src/grpc/index.ts';
import { berth } from '../../src/wire/index.ts';
import { leftInFolder } from './berthd-state.ts';
import { takenAddresses, writeBridgeNetwork } from './cni.ts';
import { command, type CommandOptions, type CommandResult } from './command.ts';
import { CriCaller } from './cri-caller.ts';
import type { CriDaemon } from './cri-daemon.ts';
import { berthd, type BerthdSetup } from './cri-daemons.ts';
import { makeImageArchive } from './image.ts';
import { leftovers, settled, sweep, sweepWhenInterrupted } from './leftovers.ts';
import { MountNamespace } from './mount-namespace.ts';
import { berthctlBinary, type OciRuntime, repository } from './paths.ts';
import { Registry } from './registry.ts';
import { makeBusyboxRootfs } from './rootfs.ts';
import { newScratch, type Scratch } from './scratch.ts';

/** The image that is there from the beginning: Debian's static busybox, with the users root and guest (1000). */
export const busyboxImage = 'localhost/busybox:test';

const bridge = 'berth-test0';
const cgroupRoot = '/sys/fs/cgroup';
const cgroupDepth = 5;
const chunkBytes = 256 * 1024;
const shownLogLines = 60;

/** Host and port of the registry that `startRegistry` starts, in the bed's own network. */
export const registryAddress = '127.0.0.1:5000';
const registryPort = 5000;

export interface BerthdBedOptions extends Pick<BerthdSetup, 'config' | 'flags' | 'environment'> {
  /** What runs the containers. Default runc. */
  runtime?: OciRuntime;
  /** Names of registries, or beginnings of paths there, that the bed's registry serves too. Default: none. */
  mirrored?: readonly string[];
  /** Whether the daemon is started and the image loaded when the bed is open. Default true. */
  started?: boolean;
}

/**
 * A berthd of a test's own, in a mount and a network namespace of its own: its root, state, socket and CNI configuration are in the
 * test's folder, and its pods are on a bridge that nobody else sees. When it is closed, nothing of it may be left on the machine.
 *
 * @example
 * const bed = await BerthdBed.open(t);
 * const pod = await bed.cri.runPod('one');
 * const id = await bed.cri.runContainer(pod, 'hello', ['echo', 'hello']);
 * await bed.kill9();
 * await bed.start();
 * assert.equal((await bed.cri.exited(id)).exitCode, 0);
 */
export class BerthdBed implements AsyncDisposable {
  readonly scratch: Scratch;
  readonly place: MountNamespace;
  readonly daemon: CriDaemon;
  readonly cri: CriCaller;
  readonly #mountsBefore: string[];
  #client: GrpcClient | undefined;
  #registry: Registry | undefined;

  /** Opens one; with a test's context it is closed when the test ends, and shows the daemon's log if the test has failed. */
  static async open(t?: TestContext, options: BerthdBedOptions = {}): Promise<BerthdBed> {
    const { runtime = 'runc', started = true, ...setup } = options;
    const scratch = newScratch();
    sweepWhenInterrupted(scratch);
    const place = await MountNamespace.open({ withoutUnifiedCgroup: runtime === 'crun', ownNetwork: true });
    const bed = new BerthdBed(scratch, place, { runtime, ...setup });
    t?.after(async () => {
      if (hasFailed(t)) bed.showLog();
      await bed.close();
    });
    if (!started) return bed;
    try {
      await bed.start();
      await bed.loadImage();
    } catch (error) {
      if (t === undefined) await bed.close().catch(() => undefined); // why it did not open tells more
      throw error;
    }
    return bed;
  }

  private constructor(scratch: Scratch, place: MountNamespace, setup: Omit<BerthdBedOptions, 'started'>) {
    this.scratch = scratch;
    this.place = place;
    const cniConfDir = this.path('cni');
    writeBridgeNetwork({ confDir: cniConfDir, leases: this.path('leases'), bridge });
    const { mirrored = [], ...rest } = setup;
    const mirrors = Object.fromEntries([registryAddress, ...mirrored].map((name) => [name, registryAddress]));
    this.daemon = berthd({ ...rest, scratch, place, mirrors, folder: scratch.folder, cniConfDir });
    this.cri = new CriCaller({ scratch, client: () => this.client, image: busyboxImage });
    this.#mountsBefore = place.mountPoints();
  }

  /** A path in the test's folder. */
  path(...names: string[]): string {
    return join(this.scratch.folder, ...names);
  }

  get socket(): string {
    return this.daemon.socket;
  }

  /** For calls that `cri` has no word for. There is a new one each time that the daemon is started. */
  get client(): GrpcClient {
    this.#client ??= new GrpcClient(this.socket);
    return this.#client;
  }

  /** Starts the daemon, or starts it again; it serves when this returns. */
  async start(): Promise<void> {
    this.#disconnect();
    await this.daemon.start();
  }

  /** SIGKILL, at once: nothing of the daemon runs any more when this returns. Pods go on. */
  async kill9(): Promise<void> {
    await this.daemon.kill9();
    this.#disconnect();
  }

  /** SIGTERM, as a service manager stops it. Pods go on. */
  async stop(): Promise<void> {
    await this.daemon.stop();
    this.#disconnect();
  }

  // A connection that was lost waits longer and longer before it is tried again.
  #disconnect(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /** Loads `busyboxImage`; gives the archive's path. */
  async loadImage(): Promise<string> {
    const archive = await this.makeImage(busyboxImage);
    await this.load(archive);
    return archive;
  }

  /** Makes an OCI archive of an image of Debian's static busybox; gives its path. */
  async makeImage(reference: string): Promise<string> {
    const rootfs = this.path('rootfs');
    makeBusyboxRootfs(rootfs);
    return await makeImageArchive(rootfs, this.scratch.folder, reference);
  }

  /** Loads an OCI or docker archive. */
  async load(archive: string): Promise<berth.LoadResponse> {
    const chunks = async function* () {
      for await (const content of createReadStream(archive, { highWaterMark: chunkBytes }) as AsyncIterable<Buffer>) {
        yield { content };
      }
    };
    return await this.client.upload(berth.Images, 'Load', chunks(), { timeoutMs: 60_000 });
  }

  /** Starts a registry on the bed's loopback, at `registryAddress`; it ends with the bed. Its folder is registry/. */
  async startRegistry(): Promise<Registry> {
    const folder = this.path('registry');
    mkdirSync(folder);
    const { scratch, place } = this;
    this.#registry = await Registry.start({ folder, place, scratch, port: registryPort });
    return this.#registry;
  }

  /** Pushes the image of an OCI archive to the registry, by a name such as "busybox:latest"; gives the reference to pull it by. */
  async push(archive: string, name: string): Promise<string> {
    const reference = `${registryAddress}/${name}`;
    const args = ['copy', '--quiet', '--dest-tls-verify=false', `oci-archive:${archive}`, `docker://${reference}`];
    const { code, stderr } = await this.command('skopeo', args);
    if (code !== 0) throw new Error(`skopeo ${args.join(' ')}: ${stderr}`);
    return reference;
  }

  /** Runs a program to its end where the daemon runs, with its network and mounts. */
  async command(file: string, args: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return await command(...this.place.wrap(file, [...args]), options);
  }

  /** Runs berthctl against the daemon, to its end. */
  async berthctl(...args: string[]): Promise<CommandResult> {
    return await this.command(berthctlBinary, ['--runtime-endpoint', this.socket, ...args]);
  }

  /** Prints the end of the daemon's log; all of it stays in build/. */
  showLog(): void {
    const folder = join(repository, 'build/berthd-logs');
    const copy = join(folder, `${this.scratch.mark}.log`);
    mkdirSync(folder, { recursive: true });
    try {
      copyFileSync(this.daemon.logPath, copy);
    } catch {
      return; // it was never started
    }
    const end = this.daemon.log().trimEnd().split('\n').slice(-shownLogLines);
    console.error([`the daemon's log, all of which is in ${copy}:`, ...end].join('\n  '));
  }

  /** What pods have left, a line for each thing; while the daemon runs, what it has for itself is in there too. */
  leftovers(): string[] {
    const isFolderOfPrograms = (line: string) =>
      /^(?:file|socket) \S*\/run\/(?:xtables\.lock|libcontainer\S*)$/.test(line);
    return [
      ...leftovers(this.scratch, this.place, this.#mountsBefore).filter((line) => !isFolderOfPrograms(line)),
      ...this.place.processes().map((pid) => `process ${pid} in the bed's mount namespace`),
      ...this.#cgroups().map((path) => `cgroup ${path}`),
      ...this.#devices().map((name) => `network device ${name}`),
      ...takenAddresses(this.path('leases')).map((address) => `address ${address}`),
      ...leftInFolder(this.scratch.folder),
    ];
  }

  /** Cgroups of pods and containers that `cri` has made, wherever they are. */
  #cgroups(folder = cgroupRoot, depth = cgroupDepth): string[] {
    if (this.cri.made.size === 0) return [];
    let names: string[];
    try {
      const entries = readdirSync(folder, { withFileTypes: true });
      names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    } catch {
      return []; // gone meanwhile
    }
    return names.flatMap((name) => {
      const path = join(folder, name);
      const id = /[0-9a-f]{64}/.exec(name)?.[0];
      if (id !== undefined) return this.cri.made.has(id) ? [path] : [];
      return depth > 1 ? this.#cgroups(path, depth - 1) : [];
    });
  }

  /** Network devices of the bed besides loopback and the bridge. */
  #devices(): string[] {
    const [file, args] = this.place.wrap('ip', ['-o', 'link']);
    const lines = execFileSync(file, args, { encoding: 'utf8' }).split('\n').filter(Boolean);
    return lines.map((line) => line.split(': ')[1] ?? '').filter((name) => name !== 'lo' && name !== bridge);
  }

  /** Removes every pod, stops the daemon, and fails if anything then is left; removes it in any case. */
  async close(): Promise<void> {
    let left: string[] = [];
    try {
      if (this.daemon.pid !== undefined) {
        await this.cri.removeAllPods();
        await this.stop();
      }
      await this.#registry?.close();
      left = await settled(() => this.leftovers());
      if (left.length > 0) this.showLog();
    } finally {
      this.#disconnect();
      await this.daemon.kill9();
      for (const pid of this.place.processes()) endProcess(pid);
      await sweep(this.scratch, () => this.place.close());
    }
    if (left.length > 0) throw new Error(`left behind:\n  ${left.join('\n  ')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Node's types do not know yet that a context has this. */
export function hasFailed(t: TestContext): boolean {
  const { error } = t as TestContext & { error?: unknown };
  return error !== undefined && error !== null;
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // gone already
  }
}
