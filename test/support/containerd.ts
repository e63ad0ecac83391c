import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Place } from './mount-namespace.ts';
import { shimBinary } from './paths.ts';
import { type Scratch, markVariable } from './scratch.ts';
import { until } from './until.ts';

const startMilliseconds = 20_000;

/** What tests do not need and what would touch the machine outside the test's folder. */
const disabledPlugins = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.internal.v1.opt',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
];

/** A containerd of a test's own: root, state, sockets and configuration are in the test's folder. */
export class Containerd {
  readonly address: string;
  readonly #scratch: Scratch;
  readonly #place: Place;
  readonly #configPath: string;
  readonly #logPath: string;
  readonly #binFolder: string;
  readonly #environment: Record<string, string>;
  #process: ChildProcess | undefined;

  /** @param environment variables for it and, through it, for its shims */
  constructor(scratch: Scratch, place: Place, environment: Record<string, string>) {
    const { folder } = scratch;
    this.#scratch = scratch;
    this.#place = place;
    this.#environment = environment;
    this.address = join(folder, 'containerd.sock');
    this.#configPath = join(folder, 'containerd.toml');
    this.#logPath = join(folder, 'containerd.log');
    this.#binFolder = join(folder, 'bin');
    // Found by either name: `ctr` passes the name of an OCI runtime only to io.containerd.runc.v2.
    mkdirSync(this.#binFolder);
    for (const name of ['containerd-shim-berth-v2', 'containerd-shim-runc-v2']) {
      symlinkSync(shimBinary, join(this.#binFolder, name));
    }
    const lines = [
      'version = 2',
      `root = ${JSON.stringify(join(folder, 'root'))}`,
      `state = ${JSON.stringify(join(folder, 'state'))}`,
      `disabled_plugins = ${JSON.stringify(disabledPlugins)}`,
      '[grpc]',
      `address = ${JSON.stringify(this.address)}`,
      '[debug]',
      'level = "debug"',
    ];
    writeFileSync(this.#configPath, lines.join('\n') + '\n');
  }

  /** Its process; undefined while it is not running. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** All that it, and shims through it, have logged since the test began. */
  log(): string {
    return readFileSync(this.#logPath, 'utf8');
  }

  /** The folders of tasks that it has, one a task. */
  get bundles(): string {
    return join(this.#scratch.folder, 'state/io.containerd.runtime.v2.task', this.#scratch.mark);
  }

  /** Starts it, or starts it again; it serves, and has found its tasks again, when this returns. */
  async start(): Promise<void> {
    const log = openSync(this.#logPath, 'a');
    const from = readFileSync(this.#logPath).length;
    const [file, args] = this.#place.wrap('containerd', ['--config', this.#configPath]);
    const child = spawn(file, args, {
      env: {
        PATH: `${this.#binFolder}:${process.env['PATH']}`,
        ...this.#environment,
        [markVariable]: this.#scratch.mark,
      },
      stdio: ['ignore', log, log],
      detached: true, // a Ctrl-C at the terminal is for the tests, not for it
    });
    closeSync(log);
    this.#process = child;
    child.once('exit', () => {
      if (this.#process === child) this.#process = undefined;
    });
    const logged = () => readFileSync(this.#logPath).subarray(from).toString();
    const serves = () => logged().includes('containerd successfully booted');
    await until('containerd serves', () => serves() || this.#process !== child, startMilliseconds);
    if (!serves()) throw new Error(`containerd ended: ${logged()}`);
  }

  /** SIGKILL, at once: nothing of it runs any more when this returns. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As a service manager stops it; its shims stay. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}
