import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import pino from 'pino';
import { loadNative, type NativeAddon } from '../../src/linux/index.ts';
import {
  type Deadlines,
  type PodShim,
  resolveRuntimes,
  type ShimEvent,
  ShimEventsServer,
  Shims,
} from '../../src/manager/tasks/index.ts';
import { type BundleOptions, makeBundle, type NamespaceSpec } from './bundle.ts';
import { leftovers, settled, sweep, sweepWhenInterrupted } from './leftovers.ts';
import { thisMachine } from './mount-namespace.ts';
import { ociRuntimes, repository, shimBinary } from './paths.ts';
import { makeBusyboxRootfs } from './rootfs.ts';
import { markVariable, newScratch, type Scratch } from './scratch.ts';
import { until } from './until.ts';

export interface ManagerShimsOptions {
  /** Default 0. */
  poolSize?: number;
  sleepAfterSeconds?: number;
  deadlines?: Partial<Deadlines>;
  /** Further handlers: names of shims by their own. */
  otherShims?: Record<string, string>;
}

export const native: NativeAddon = loadNative(join(repository, 'dist/lib/berth.node'));

const sigkill = 9;

/** What makes the manager's shims on a test's own state folder; also in a process that is to be killed. */
export async function openShims(scratch: Scratch, options: ManagerShimsOptions = {}): Promise<Shims> {
  const state = join(scratch.folder, 'state');
  mkdirSync(state, { recursive: true, mode: 0o711 });
  const environment = { PATH: process.env['PATH'] ?? '', [markVariable]: scratch.mark };
  const log = pino({ level: process.env['BERTH_TEST_LOG'] ?? 'silent' }, pino.destination({ dest: 2, sync: true }));
  const handlers = {
    runc: { binary: ociRuntimes.runc, shim: '', root: '' },
    other: { binary: ociRuntimes.runc, shim: 'containerd-shim-runc-v2', root: '' },
    ...mapValues(options.otherShims ?? {}, (shim) => ({ binary: '', shim, root: '' })),
  };
  const setup = { shimBinary, searchPath: environment.PATH, environment, systemdCgroup: false };
  const runtimes = await resolveRuntimes({ state, runtimes: { default: 'runc', handlers } }, native, log, setup);
  return new Shims({
    ...{ stateFolder: state, managerAddress: join(state, 'berth.sock'), eventsAddress: eventsPath(scratch) },
    ...{ namespace: scratch.mark, native, log, runtimes, poolSize: 0, ...setup, ...options },
  });
}

const mapValues = <A, B>(of: Record<string, A>, f: (value: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [name, f(value)]));

const eventsPath = ({ folder }: Scratch) => join(folder, 'state/berth.sock.ttrpc');

/**
 * The manager's side of shims on folders of a test's own, with a receiver of events and a root file system. When the test ends
 * nothing of it may be left on the machine.
 */
export class ManagerShims {
  readonly scratch: Scratch;
  readonly rootfs: string;
  readonly events: ShimEvent[] = [];
  /** While it is set no event is kept. */
  refusal: Error | undefined;
  shims: Shims;
  readonly #options: ManagerShimsOptions;
  readonly #mountsBefore = thisMachine.mountPoints();
  #server: ShimEventsServer;

  private constructor(scratch: Scratch, shims: Shims, server: ShimEventsServer, options: ManagerShimsOptions) {
    this.scratch = scratch;
    this.shims = shims;
    this.#server = server;
    this.#options = options;
    this.rootfs = this.path('rootfs');
    makeBusyboxRootfs(this.rootfs);
    mkdirSync(this.path('containers'));
    mkdirSync(this.path('logs'));
  }

  static async open(t: TestContext, options: ManagerShimsOptions = {}): Promise<ManagerShims> {
    const scratch = newScratch();
    sweepWhenInterrupted(scratch);
    const shims = await openShims(scratch, options);
    const bed: ManagerShims = new ManagerShims(
      scratch,
      shims,
      await listen(scratch, (event) => bed.#take(event)),
      options,
    );
    t.after(() => bed.close());
    return bed;
  }

  path(...names: string[]): string {
    return join(this.scratch.folder, ...names);
  }

  /** Lets go of everything, as a manager does that ends, and begins anew. */
  async restart(): Promise<void> {
    await this.shims.close();
    this.shims = await openShims(this.scratch, this.#options);
  }

  async stopEvents(): Promise<void> {
    await this.#server.close();
  }

  async startEvents(): Promise<void> {
    this.#server = await listen(this.scratch, (event) => this.#take(event));
  }

  /** A pod's shim with its sandbox started. */
  async pod(runtime: string, hostname = 'pod'): Promise<{ shim: PodShim; pid: number }> {
    const shim = await this.shims.take(runtime);
    const cgroupsPath = `/${this.scratch.mark}/${shim.info.id}`;
    const { pid } = await shim.startSandbox({ hostname, netnsPath: '', annotations: { a: 'b' }, cgroupsPath });
    return { shim, pid };
  }

  /** A container of a pod, created. */
  async container(
    { shim, pid }: { shim: PodShim; pid: number },
    id: string,
    args: string[],
    options: Partial<BundleOptions> = {},
  ): Promise<{ bundle: string; logPath: string; pid: number }> {
    const shared = (['ipc', 'uts'] as const).map((type): NamespaceSpec => ({ type, path: `/proc/${pid}/ns/${type}` }));
    const bundle = makeBundle(this.path('containers'), {
      ...{ id, args, rootfs: this.rootfs, cgroupsPath: `/${this.scratch.mark}/${id}` },
      namespaces: [{ type: 'mount' }, { type: 'pid' }, ...shared],
      annotations: { 'io.kubernetes.cri.sandbox-id': shim.info.id, 'io.kubernetes.cri.container-type': 'container' },
      ...options,
    });
    const logPath = this.path('logs', `${id}.log`);
    const stdio = { terminal: options.terminal ?? false, stdin: false, stdinOnce: false };
    return { bundle, logPath, pid: await shim.create({ id, bundle, rootfs: [], logPath, ...stdio }) };
  }

  /** Ends containers, whatever they do, and the pod. */
  async end(shim: PodShim, ...ids: string[]): Promise<void> {
    for (const id of ids) {
      await shim.kill(id, sigkill, { all: true }).catch(() => undefined);
      await shim.wait(id);
      await shim.delete(id);
    }
    await shim.shutdown();
  }

  /** Waits for an event. */
  next(topic: string): Promise<ShimEvent> {
    return until(`an event ${topic}`, () => this.events.find((event) => event.topic === topic));
  }

  async close(): Promise<void> {
    let left: string[] = [];
    try {
      await this.shims.close();
      await this.#server.close().catch(() => undefined);
      left = await settled(() => leftovers(this.scratch, thisMachine, this.#mountsBefore));
      left.push(...this.shims.abandoned(new Set()).map((id) => `sandbox folder ${id}`));
    } finally {
      await sweep(this.scratch, () => Promise.resolve());
    }
    if (left.length > 0) throw new Error(`left behind:\n  ${left.join('\n  ')}`);
  }

  #take(event: ShimEvent): void {
    if (this.refusal !== undefined) throw this.refusal;
    this.events.push(event);
  }
}

function listen(scratch: Scratch, take: (event: ShimEvent) => void): Promise<ShimEventsServer> {
  return ShimEventsServer.listen(eventsPath(scratch), native, pino({ level: 'silent' }), take);
}
