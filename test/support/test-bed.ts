import { globSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type CommandOptions, type CommandResult, command } from './command.ts';
import { Containerd } from './containerd.ts';
import { EventLog } from './events.ts';
import { makeImageArchive } from './image.ts';
import { leftovers, settled, sweep, sweepWhenInterrupted } from './leftovers.ts';
import { MountNamespace, type Place } from './mount-namespace.ts';
import { type OciRuntime, ociRuntimes } from './paths.ts';
import { makeBusyboxRootfs } from './rootfs.ts';
import { Running } from './running.ts';
import { type Scratch, newScratch } from './scratch.ts';
import { Terminal } from './terminal.ts';

const imageReference = 'localhost/busybox:test';

export interface TestBedOptions {
  /** What runs the containers. Default runc, which our shim takes when nothing is said. */
  runtime?: OciRuntime;
  /** Variables for containerd and, through it, for its shims. */
  environment?: Record<string, string>;
}

export interface ContainerOptions {
  id: string;
  command: string[];
  /** Further flags of `ctr run`. */
  flags?: string[];
  /** An OCI runtime by path, instead of the test bed's. */
  runtimeBinary?: string;
  /** From the image, on a snapshot of its own, instead of on the shared root file system. */
  fromImage?: boolean;
}

/** A machine of a test's own: a containerd with our shim, a root file system, `ctr`; gone without a trace when the test ends. */
export class TestBed {
  readonly scratch: Scratch;
  readonly place: Place;
  readonly containerd: Containerd;
  /** A busybox root file system, on the machine's own disk: what a container writes there the test can read, and the other way round. */
  readonly rootfs: string;
  readonly #runtime: OciRuntime;
  readonly #mountsBefore: string[];
  readonly #toClose: { close(): Promise<void> }[] = [];
  #hasImage = false;

  /** Opens one, with a running containerd. With a test's context it is closed when the test ends, which fails if anything was left behind. */
  static async open(t?: TestContext, options: TestBedOptions = {}): Promise<TestBed> {
    const { runtime = 'runc' } = options;
    const scratch = newScratch();
    sweepWhenInterrupted(scratch);
    const place = await MountNamespace.open({ withoutUnifiedCgroup: runtime === 'crun' });
    const bed = new TestBed(scratch, place, runtime, options.environment);
    t?.after(() => bed.close());
    try {
      await bed.containerd.start();
    } catch (error) {
      if (t === undefined) await bed.close();
      throw error;
    }
    return bed;
  }

  constructor(scratch: Scratch, place: Place, runtime: OciRuntime, environment: Record<string, string> = {}) {
    this.scratch = scratch;
    this.place = place;
    this.#runtime = runtime;
    this.#mountsBefore = place.mountPoints();
    this.rootfs = this.path('rootfs');
    makeBusyboxRootfs(this.rootfs);
    mkdirSync(this.path('fifos'));
    this.containerd = new Containerd(scratch, place, environment);
  }

  /** A path in the test's folder. */
  path(...names: string[]): string {
    return join(this.scratch.folder, ...names);
  }

  #ctr(args: string[]): [file: string, args: string[]] {
    return this.place.wrap('ctr', ['--address', this.containerd.address, '--namespace', this.scratch.mark, ...args]);
  }

  /** Runs `ctr` to its end. */
  async ctr(args: string[], options?: CommandOptions): Promise<CommandResult> {
    return await command(...this.#ctr(args), options);
  }

  /** Runs `ctr` to its end; gives what it printed. Fails unless it succeeds. */
  async ctrPrints(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.ctr(args);
    if (code !== 0) throw new Error(`ctr ${args.join(' ')}: exit code ${code}: ${stderr}`);
    return stdout;
  }

  /** Starts `ctr` with pipes. */
  start(args: string[]): Running {
    return this.#closing(new Running(...this.#ctr(args)), (running) => running.kill());
  }

  /** Starts `ctr` in a terminal of 80 columns and 24 rows. */
  terminal(args: string[]): Terminal {
    const terminal = new Terminal(...this.#ctr(args), { columns: 80, rows: 24 });
    return this.#closing(terminal, () => terminal.close());
  }

  #closing<T>(opened: T, close: (opened: T) => Promise<void>): T {
    this.#toClose.push({ close: () => close(opened) });
    return opened;
  }

  /** The arguments of `ctr run` for a container. */
  run(container: ContainerOptions): string[] {
    const { flags = [], fromImage = false } = container;
    const root = fromImage ? [imageReference] : ['--env', 'PATH=/usr/bin:/bin', '--rootfs', this.rootfs];
    return [
      'run',
      ...this.#runtimeFlags(container.runtimeBinary),
      ...flags,
      ...root,
      container.id,
      ...container.command,
    ];
  }

  #runtimeFlags(binary: string | undefined): string[] {
    if (binary === undefined && this.#runtime === 'runc') return ['--runtime', 'io.containerd.berth.v2'];
    return ['--runtime', 'io.containerd.runc.v2', '--runc-binary', binary ?? ociRuntimes[this.#runtime]];
  }

  /**
   * A detached container, running when this returns. Its input stays open, and what it prints goes to FIFOs that nobody reads
   * unless the flags say otherwise.
   */
  async runDetached(container: ContainerOptions): Promise<void> {
    const flags = ['--detach', '--fifo-dir', this.path('fifos'), ...(container.flags ?? [])];
    const running = this.start(this.run({ ...container, flags }));
    // The end of its own input would have ctr close the container's.
    const code = await running.exited;
    if (code !== 0) throw new Error(`ctr run ${container.id}: exit code ${code}: ${running.stderr}`);
  }

  /** A process in a container, running when this returns; its FIFOs are like those of `runDetached`. */
  async execDetached(id: string, execId: string, command: string[]): Promise<void> {
    await this.ctrPrints(
      'tasks',
      'exec',
      '--detach',
      '--fifo-dir',
      this.path('fifos'),
      '--exec-id',
      execId,
      id,
      ...command,
    );
  }

  /** The FIFO that a detached container writes to or reads from. */
  fifoOf(id: string, stream: 'stdin' | 'stdout' | 'stderr'): string {
    const [path] = globSync(this.path('fifos', '*', `${id}-${stream}`));
    if (path === undefined) throw new Error(`no FIFO for ${stream} of ${id}`);
    return path;
  }

  /** Makes the busybox image known to containerd, for `fromImage`. */
  async importImage(): Promise<void> {
    const archive = await makeImageArchive(this.rootfs, this.scratch.folder, imageReference);
    await this.ctrPrints('images', 'import', archive);
    this.#hasImage = true;
  }

  async events(): Promise<EventLog> {
    const provoke = () => this.ctr(['namespaces', 'label', this.scratch.mark, `at=${Date.now()}`]);
    await this.ctr(['namespaces', 'create', this.scratch.mark]);
    return await EventLog.follow(this.start(['events']), provoke);
  }

  /** PENDING, CREATED, RUNNING, PAUSED or STOPPED; undefined where there is no such task. */
  async taskStatus(id: string): Promise<string | undefined> {
    const lines = (await this.ctrPrints('tasks', 'list')).split('\n').map((line) => line.split(/\s+/));
    return lines.find(([name]) => name === id)?.[2];
  }

  /** The pid of a task's first process, as the machine counts. */
  async taskPid(id: string): Promise<number> {
    const lines = (await this.ctrPrints('tasks', 'list')).split('\n').map((line) => line.split(/\s+/));
    const pid = lines.find(([name]) => name === id)?.[1];
    if (pid === undefined) throw new Error(`no task ${id}`);
    return Number(pid);
  }

  /** Deletes every container as a user would, stops containerd, and fails if anything then is left; removes it in any case. */
  async close(): Promise<void> {
    const left: string[] = [];
    try {
      for (const opened of this.#toClose) await opened.close();
      if (this.containerd.pid !== undefined) await this.#deleteContainers();
      await this.containerd.stop();
      left.push(...(await settled(() => leftovers(this.scratch, this.place, this.#mountsBefore))));
    } finally {
      await sweep(this.scratch, () => this.place.close());
    }
    if (left.length > 0) throw new Error(`left behind:\n  ${left.join('\n  ')}`);
  }

  async #deleteContainers(): Promise<void> {
    const ids = async (kind: string) => (await this.ctrPrints(kind, 'list', '--quiet')).split('\n').filter(Boolean);
    const tasks = await ids('tasks');
    if (tasks.length > 0) await this.ctr(['tasks', 'delete', '--force', ...tasks]);
    const containers = await ids('containers');
    if (containers.length > 0) await this.ctr(['containers', 'delete', ...containers]);
    if (this.#hasImage) await this.ctr(['images', 'remove', '--sync', imageReference]);
  }
}
