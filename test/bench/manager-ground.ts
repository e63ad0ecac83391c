import { mkdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { GrpcClient } from '../../src/grpc/index.ts';
import { mirroredRegistries } from '../conformance/stand-ins.ts';
import { writeBridgeNetwork } from '../support/cni.ts';
import { CriCaller } from '../support/cri-caller.ts';
import type { CriDaemon } from '../support/cri-daemon.ts';
import { berthd, containerd } from '../support/cri-daemons.ts';
import { sweep, sweepWhenInterrupted } from '../support/leftovers.ts';
import { MountNamespace } from '../support/mount-namespace.ts';
import { allProcesses, privateMemoryBytes } from '../support/process-tree.ts';
import { Registry } from '../support/registry.ts';
import { newScratch, type Scratch } from '../support/scratch.ts';

/** The same for all: a busybox of Debian's, with a shell. */
export const image = 'registry.k8s.io/e2e-test-images/busybox:1.29-2';

const standInsPort = 5000;
const ownPort = 5001;
/** The registry with the bench's own images. */
export const ownRegistry = `127.0.0.1:${ownPort}`;

const makers = { containerd, berthd } as const;
export type Contestant = keyof typeof makers;
export const contestantNames = Object.keys(makers) as Contestant[];

/**
 * A daemon that serves CRI, in a mount and a network namespace of its own, with its own registries on loopback (from the same
 * storage as the other's), bridge and addresses.
 */
export class Ground {
  readonly name: Contestant;
  readonly cri: CriCaller;
  readonly daemon: CriDaemon;
  readonly #scratch: Scratch;
  readonly #place: MountNamespace;
  readonly #registries: Registry[] = [];
  #client: GrpcClient | undefined;

  private constructor(name: Contestant, scratch: Scratch, place: MountNamespace) {
    this.name = name;
    this.#scratch = scratch;
    this.#place = place;
    const cniConfDir = join(scratch.folder, 'cni');
    writeBridgeNetwork({ confDir: cniConfDir, leases: join(scratch.folder, 'leases'), bridge: 'bench0' });
    const standIns = mirroredRegistries.map((registry) => [registry, `127.0.0.1:${standInsPort}`]);
    const mirrors = Object.fromEntries([...standIns, [ownRegistry, ownRegistry]]) as Record<string, string>;
    this.daemon = makers[name]({ scratch, place, folder: scratch.folder, cniConfDir, mirrors, logLevel: 'info' });
    this.cri = new CriCaller({ scratch, client: () => this.client, image });
  }

  /**
   * Opens one; its daemon serves and has pulled `image`.
   * @param storages of the registry of stand-ins, and of the one with the bench's own images
   */
  static async open(name: Contestant, storages: readonly [string, string]): Promise<Ground> {
    const scratch = newScratch();
    sweepWhenInterrupted(scratch);
    const place = await MountNamespace.open({ withoutUnifiedCgroup: false, ownNetwork: true });
    const ground = new Ground(name, scratch, place);
    try {
      for (const [n, port] of [standInsPort, ownPort].entries()) {
        const folder = join(scratch.folder, `registry-${port}`);
        mkdirSync(folder);
        ground.#registries.push(await Registry.start({ folder, port, place, scratch, storage: storages[n] as string }));
      }
      await ground.daemon.start();
      await ground.cri.images('PullImage', { image: { image } });
      return ground;
    } catch (error) {
      await ground.close();
      throw error;
    }
  }

  get client(): GrpcClient {
    this.#client ??= new GrpcClient(this.daemon.socket);
    return this.#client;
  }

  /** Starts the daemon, which has been killed, and waits for nothing. */
  launchAgain(): void {
    this.#client?.close();
    this.#client = undefined;
    this.daemon.launch();
  }

  /**
   * Private memory in bytes, of processes of each kind. A pod's are those that run in its bundle, name it in their arguments, or are in
   * its sandbox's cgroup: shims and what holds namespaces, but no process of a container. All else is the daemon's, such as shims
   * that wait for a pod.
   */
  memory(podIds: readonly string[]): { daemon: number; pods: number } {
    const registries = new Set(this.#registries.map((registry) => registry.pid));
    const sum = { daemon: 0, pods: 0 };
    const inNamespace = new Set(this.#place.processes());
    for (const { pid } of allProcesses()) {
      if (registries.has(pid)) continue;
      const traces = [attempt(() => readlinkSync(`/proc/${pid}/cwd`)), read(pid, 'cmdline'), read(pid, 'cgroup')];
      const isPods = podIds.some((id) => traces.some((text) => text.includes(id)));
      if (!isPods && !inNamespace.has(pid)) continue;
      sum[isPods ? 'pods' : 'daemon'] += privateMemoryBytes(pid);
    }
    return sum;
  }

  async close(): Promise<void> {
    try {
      if (this.daemon.pid !== undefined) await this.cri.removeAllPods();
    } finally {
      await this.daemon.stop().catch(() => undefined);
      this.#client?.close();
      for (const registry of this.#registries) await registry.close();
      for (const pid of this.#place.processes()) attempt(() => String(process.kill(pid, 'SIGKILL')));
      await sweep(this.#scratch, () => this.#place.close());
    }
  }
}

function attempt(look: () => string): string {
  try {
    return look();
  } catch {
    return ''; // gone meanwhile
  }
}

const read = (pid: number, name: string) => attempt(() => readFileSync(`/proc/${pid}/${name}`, 'latin1'));
