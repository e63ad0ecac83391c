import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** Where programs run and what they see mounted: on the machine itself, or apart from it. */
export interface Place {
  /** The program and arguments that run a program there. The process that is started becomes that program. */
  wrap(file: string, args: string[]): [file: string, args: string[]];
  /** How this process reaches a path of there. */
  path(path: string): string;
  mountPoints(): string[];
  close(): Promise<void>;
}

function mountPointsOf(pid: number | 'self'): string[] {
  const lines = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => line.split(' ')[4] as string);
}

export const thisMachine: Place = {
  wrap: (file, args) => [file, args],
  path: (path) => path,
  mountPoints: () => mountPointsOf('self'),
  close: () => Promise.resolve(),
};

export interface MountNamespaceOptions {
  /** Without the cgroup2 mount of a hybrid layout, which crun refuses. */
  withoutUnifiedCgroup: boolean;
  /** Also a network namespace, in which only loopback is up: bridges, addresses and rules made there are nobody else's. Default false. */
  ownNetwork?: boolean;
}

/**
 * A mount namespace of a test's own, with an empty /run: sockets, runtime states and pinned namespaces of others are not there, and
 * whatever is there afterwards is the test's.
 */
export class MountNamespace implements Place {
  readonly #holder: ChildProcess;
  readonly #ownNetwork: boolean;

  private constructor(holder: ChildProcess, ownNetwork: boolean) {
    this.#holder = holder;
    this.#ownNetwork = ownNetwork;
  }

  static async open(options: MountNamespaceOptions): Promise<MountNamespace> {
    const { ownNetwork = false } = options;
    const steps = ['mount -t tmpfs -o mode=755 tmpfs /run'];
    if (ownNetwork) steps.push('ip link set lo up');
    if (options.withoutUnifiedCgroup)
      steps.push(
        // What crun makes where the cgroup2 mount was goes into a file system that vanishes with the namespace.
        'if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; mount -t tmpfs berth-test /sys/fs/cgroup/unified; fi',
      );
    // It ends when this process does, however that ends, since its input then does.
    const script = [...steps, 'echo ready', 'exec cat >/dev/null'].join('\n');
    const namespaces = ['--mount', '--propagation', 'private', ...(ownNetwork ? ['--net'] : [])];
    const args = [...namespaces, 'sh', '-e', '-c', script];
    const holder = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(holder, 'exit').then(() => false);
    const ready = once(holder.stdout, 'data').then(() => true);
    if (!(await Promise.race([ready, exited]))) throw new Error('unshare could not make a mount namespace: needs root');
    return new MountNamespace(holder, ownNetwork);
  }

  get #pid(): number {
    return this.#holder.pid as number;
  }

  /** Every process in it, but not the one that keeps it open. Containers have mount namespaces of their own and are not among them. */
  processes(): number[] {
    const namespaceOf = (pid: number | string) => readlinkSync(`/proc/${pid}/ns/mnt`);
    const own = namespaceOf(this.#pid);
    const inside = (pid: string) => {
      try {
        return namespaceOf(pid) === own;
      } catch {
        return false; // gone meanwhile
      }
    };
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && inside(name));
    return pids.map(Number).filter((pid) => pid !== this.#pid);
  }

  wrap(file: string, args: string[]): [file: string, args: string[]] {
    const network = this.#ownNetwork ? [`--net=/proc/${this.#pid}/ns/net`] : [];
    return ['nsenter', [`--mount=/proc/${this.#pid}/ns/mnt`, ...network, '--', file, ...args]];
  }

  path(path: string): string {
    return `/proc/${this.#pid}/root${path}`;
  }

  mountPoints(): string[] {
    return mountPointsOf(this.#pid);
  }

  async close(): Promise<void> {
    const exited = once(this.#holder, 'exit');
    this.#holder.stdin?.end();
    await exited;
  }
}
