import { spawn } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CallOptions, Client, connect, Code, TtrpcError } from '../../src/ttrpc/index.ts';
import {
  bootstrap,
  type Init,
  namespaceKey,
  ociType,
  packAny,
  packJson,
  type protobuf,
  runc,
  sandboxV1,
  type ServiceDefinition,
  shimV1,
  type task,
  taskV2,
  taskV3,
  type types,
  type MethodNames,
  type RequestOf,
  type ResponseOf,
} from '../../src/wire/index.ts';
import type { ProcessSpec } from './bundle.ts';
import { FifoReader, makeFifos } from './fifo.ts';
import { thisMachine, type Place } from './mount-namespace.ts';

/** What `shim start` answers, in whichever form. */
export interface Bootstrap {
  /** Of the task service: 2 or 3. A plain address means 2. */
  version: number;
  /** "unix://" and a path. */
  address: string;
  protocol: string;
  /** How it was written. */
  form: 'plain' | 'json' | 'protobuf';
}

export interface ShimOptions {
  /** The shim's program. */
  shim: string;
  /** The container's bundle; the shim's working directory. */
  bundle: string;
  id: string;
  /** containerd's namespace. */
  namespace: string;
  /** Path of the socket where events go. */
  eventsAddress: string;
  /** Added to this process's own environment. */
  env?: NodeJS.ProcessEnv;
  /** What `start` reads; default: nothing. */
  stdin?: Uint8Array;
  /** Flags in front of the others, such as '-debug'. */
  flags?: string[];
  /** Where it runs. Default: on the machine itself. */
  place?: Place;
}

export interface CommandOutcome {
  code: number;
  stdout: Buffer;
  stderr: string;
}

const commandDeadlineMilliseconds = 30_000;
const callDeadlineMilliseconds = 30_000;
const waitDeadlineMilliseconds = 60_000;

/** Runs one of the shim's commands (`start`, `delete`, `-v`, `-info`) as containerd does. */
export async function shimCommand(options: ShimOptions, ...command: string[]): Promise<CommandOutcome> {
  const { shim, bundle, id, namespace, eventsAddress, env, stdin, flags = [], place = thisMachine } = options;
  const common = ['-namespace', namespace, '-id', id, '-address', eventsAddress, '-publish-binary', '/bin/false'];
  const shimAndArguments = [shim, ...flags, ...common, ...command];
  const [file, args] = place === thisMachine ? runHere(shimAndArguments) : runThere(place, bundle, shimAndArguments);
  const child = spawn(file, args, {
    cwd: bundle,
    env: { ...process.env, TTRPC_ADDRESS: eventsAddress, ...env },
    stdio: [stdin === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (bytes: Buffer) => stdout.push(bytes));
  child.stderr?.on('data', (bytes: Buffer) => stderr.push(bytes));
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(stdin);
  const code = await new Promise<number>((resolve, reject) => {
    const deadline = setTimeout(() => {
      child.kill('SIGKILL');
      child.stdout?.destroy();
      child.stderr?.destroy();
      reject(new Error(`${shim} ${command.join(' ')}: not ended after ${commandDeadlineMilliseconds} ms`));
    }, commandDeadlineMilliseconds);
    child.once('error', reject);
    child.once('close', (exitCode) => {
      clearTimeout(deadline);
      resolve(exitCode ?? -1);
    });
  });
  return { code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() };
}

const runHere = ([file, ...args]: string[]): [string, string[]] => [file as string, args];

/** Entering a mount namespace forgets the working directory. */
const runThere = (place: Place, folder: string, argv: string[]): [string, string[]] =>
  place.wrap('sh', ['-c', 'cd "$0" && exec "$@"', folder, ...argv]);

/** Reads what `shim start` wrote, telling the three forms apart as containerd does. */
export function parseBootstrap(output: Buffer): Bootstrap {
  const text = output.toString().trim();
  if (text.startsWith('unix://')) return { version: 2, address: text, protocol: 'ttrpc', form: 'plain' };
  if (text.startsWith('{')) {
    const { version, address, protocol } = JSON.parse(text) as {
      version?: number;
      address?: string;
      protocol?: string;
    };
    return { version: version ?? 2, address: address ?? '', protocol: protocol ?? '', form: 'json' };
  }
  const { version, address, protocol } = bootstrap.BootstrapResult.decode(output);
  return { version, address, protocol, form: 'protobuf' };
}

/** `containerd.runc.v1.Options` as Create takes them. */
export function runcOptions(options: Init<runc.Options>): protobuf.Any {
  return packAny(runc.Options, options);
}

export interface StdioOptions {
  stdin?: string;
  /** A FIFO's path, or a URI such as file:///x. Default: none. */
  stdout?: string;
  stderr?: string;
  terminal?: boolean;
}

export interface CreateOptions extends StdioOptions {
  rootfs?: Init<types.Mount>[];
  options?: protobuf.Any;
  checkpoint?: string;
}

/**
 * One container's view of its shim: what containerd does with it, without containerd. Calls are about the own container
 * unless a request says otherwise.
 *
 * @example
 * await using container = await ShimClient.start({ shim, bundle, id: 'one', namespace: mark, eventsAddress: sink.path });
 * await container.create({ stdout });
 * await container.startTask();
 * const { exitStatus } = await container.wait();
 */
export class ShimClient implements AsyncDisposable {
  readonly options: ShimOptions;
  readonly bootstrap: Bootstrap;
  readonly #log: FifoReader | undefined;
  #client: Client;
  #pid: number | undefined;

  private constructor(options: ShimOptions, answer: Bootstrap, log: FifoReader | undefined, client: Client) {
    this.options = options;
    this.bootstrap = answer;
    this.#log = log;
    this.#client = client;
  }

  /** Runs `shim start` for the container and connects to the address that it answers. */
  static async start(options: ShimOptions): Promise<ShimClient> {
    const log = openLog(options.bundle);
    try {
      const { code, stdout, stderr } = await shimCommand(options, 'start');
      if (code !== 0) throw new Error(`shim start failed with ${code}: ${stderr.trim()}${log.text}`);
      const answer = parseBootstrap(stdout);
      // containerd writes it there, and a shim's `delete` command may look for it.
      writeFileSync(join(options.bundle, 'address'), answer.address);
      return new ShimClient(options, answer, log, await dial(options, answer.address));
    } catch (error) {
      log.close();
      throw error;
    }
  }

  get id(): string {
    return this.options.id;
  }

  /** What the shim has written to the `log` FIFO of its bundle. */
  get log(): string {
    return this.#log?.text ?? '';
  }

  /** How this process reaches a unix socket that the shim names. */
  pathOf(address: string): string {
    const { place = thisMachine } = this.options;
    return place.path(address.replace(/^unix:\/\//, ''));
  }

  get client(): Client {
    return this.#client;
  }

  /** Another connection to the same shim, as containerd makes one when it has been restarted. */
  async connectAgain(): Promise<ShimClient> {
    return new ShimClient(this.options, this.bootstrap, undefined, await dial(this.options, this.bootstrap.address));
  }

  /** Calls the task service, in the version that the shim has named. */
  task<Name extends MethodNames<typeof taskV3, 'unary'>>(
    name: Name,
    request: Init<RequestOf<(typeof taskV3)['methods'][Name]>>,
    options?: CallOptions,
  ): Promise<ResponseOf<(typeof taskV3)['methods'][Name]>> {
    return this.#call(this.bootstrap.version >= 3 ? taskV3 : taskV2, name, request, options);
  }

  /** Calls the sandbox service. */
  sandbox<Name extends MethodNames<typeof sandboxV1, 'unary'>>(
    name: Name,
    request: Init<RequestOf<(typeof sandboxV1)['methods'][Name]>>,
    options?: CallOptions,
  ): Promise<ResponseOf<(typeof sandboxV1)['methods'][Name]>> {
    return this.#call(sandboxV1, name, request, options);
  }

  /** Calls what only our own shim serves. */
  berth<Name extends MethodNames<typeof shimV1, 'unary'>>(
    name: Name,
    request: Init<RequestOf<(typeof shimV1)['methods'][Name]>>,
    options?: CallOptions,
  ): Promise<ResponseOf<(typeof shimV1)['methods'][Name]>> {
    return this.#call(shimV1, name, request, options);
  }

  /** Creates the container; gives init's pid. */
  async create(options: CreateOptions = {}): Promise<number> {
    const { pid } = await this.task('Create', { id: this.id, bundle: this.options.bundle, ...options });
    return pid;
  }

  async startTask(execId = ''): Promise<number> {
    const { pid } = await this.task('Start', { id: this.id, execId });
    return pid;
  }

  /** Adds a process; `startTask(execId)` then runs it. */
  async exec(execId: string, spec: ProcessSpec, stdio: StdioOptions = {}): Promise<void> {
    await this.task('Exec', { id: this.id, execId, ...stdio, spec: packJson(ociType.process, spec) });
  }

  async wait(execId = ''): Promise<task.WaitResponse> {
    return this.task('Wait', { id: this.id, execId }, { timeoutMs: waitDeadlineMilliseconds });
  }

  async delete(execId = ''): Promise<task.DeleteResponse> {
    return this.task('Delete', { id: this.id, execId });
  }

  async kill(signal: number, options: { execId?: string; all?: boolean } = {}): Promise<void> {
    await this.task('Kill', { id: this.id, signal, ...options });
  }

  async state(execId = ''): Promise<task.StateResponse> {
    return this.task('State', { id: this.id, execId });
  }

  /** The shim's own pid. It does not change in a shim's life. */
  async shimPid(): Promise<number> {
    return (this.#pid ??= await this.#askPid());
  }

  /** Our own service tells it before there is a container; other shims have only Connect. */
  async #askPid(): Promise<number> {
    try {
      return (await this.berth('Info', {})).pid;
    } catch (error) {
      if (!(error instanceof TtrpcError) || error.code !== Code.Unimplemented) throw error;
      return (await this.task('Connect', { id: this.id })).shimPid;
    }
  }

  /** All processes in the container, as pids of the machine. */
  async containerPids(): Promise<number[]> {
    const { processes } = await this.task('Pids', { id: this.id });
    return processes.map(({ pid }) => pid);
  }

  /** Asks the shim to end; it does so once it has no container. The connection goes with it. */
  async shutdown(): Promise<void> {
    await this.task('Shutdown', { id: this.id, now: true }).catch(ignoreLostConnection);
  }

  /** Runs the shim's `delete` command, as containerd does for a shim that is gone. */
  async deleteCommand(): Promise<CommandOutcome> {
    return shimCommand(
      { ...this.options, flags: [...(this.options.flags ?? []), '-bundle', this.options.bundle] },
      'delete',
    );
  }

  /** Closes the connection and nothing else, as a daemon that ends does. */
  disconnect(): void {
    this.#client.close();
    this.#log?.close();
  }

  /** Whatever the state: ends the container, then the shim if that was its last one, then what is left of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ignore = () => undefined;
    if (!this.#client.isOpen)
      this.#client = (await dial(this.options, this.bootstrap.address).catch(ignore)) ?? this.#client;
    await this.kill(9, { all: true }).catch(ignore);
    await this.task('Wait', { id: this.id }, { timeoutMs: 5_000 }).catch(ignore);
    await this.delete().catch(ignore);
    await this.shutdown().catch(ignore);
    this.disconnect();
    if (existsSync(this.options.bundle)) await this.deleteCommand().catch(ignore);
  }

  #call<Service extends ServiceDefinition, Name extends MethodNames<Service, 'unary'>>(
    service: Service,
    name: Name,
    request: Init<RequestOf<Service['methods'][Name]>>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Service['methods'][Name]>> {
    const metadata = { [namespaceKey]: this.options.namespace };
    return this.#client.call(service, name, request, { timeoutMs: callDeadlineMilliseconds, metadata, ...options });
  }
}

async function dial({ place = thisMachine }: ShimOptions, address: string): Promise<Client> {
  const path = place.path(address.replace(/^unix:\/\//, ''));
  return new Client(await connect(path, { timeoutMs: 5_000 }));
}

/** containerd makes the FIFO and reads it before it starts the shim. */
function openLog(bundle: string): FifoReader {
  const path = join(bundle, 'log');
  if (!existsSync(path)) makeFifos(path);
  return new FifoReader(path, { keepOpen: true });
}

function ignoreLostConnection(error: Error): void {
  if (!error.message.includes('closed')) throw error;
}
