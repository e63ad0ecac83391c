import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { PodNetworkRequest } from '../../src/manager/network/index.ts';
import { type CommandResult, command } from './command.ts';
import type { AgentAnswer, AgentCall, AgentMethods } from './network-agent.ts';

const debianPlugins = '/usr/lib/cni';
/** The interfaces are there for this process's namespaces only; it ends when the test does, since its input then does. */
const setUp = `
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
mkdir /run/netns
ip link set lo up
echo ready
exec cat >/dev/null`;

export class AgentError extends Error {
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

/** A process that does what berthd does with its network. */
export class NetworkAgent {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (answer: AgentAnswer) => void>();
  #calls = 0;

  constructor(child: ChildProcess) {
    this.#process = child;
    child.on('message', (answer: AgentAnswer | 'ready') => {
      if (answer !== 'ready') this.#waiting.get(answer.id)?.(answer);
    });
    child.on('exit', () => {
      for (const [id, done] of this.#waiting) done({ id, error: { message: 'the agent has ended', code: -1 } });
    });
  }

  async call<M extends keyof AgentMethods>(
    method: M,
    ...parameters: Parameters<AgentMethods[M]>
  ): Promise<Awaited<ReturnType<AgentMethods[M]>>> {
    const id = ++this.#calls;
    const { promise, resolve } = Promise.withResolvers<AgentAnswer>();
    this.#waiting.set(id, resolve);
    this.#process.send({ id, method, parameters } satisfies AgentCall);
    const { result, error } = await promise;
    this.#waiting.delete(id);
    if (error !== undefined) throw new AgentError(error.message, error.code);
    return result as Awaited<ReturnType<AgentMethods[M]>>;
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }
}

/** A host of a test's own: network and mount namespaces, with folders for configurations, plugins and what they keep. */
export class NetworkHost {
  readonly folder: string;
  readonly #holder: ChildProcess;
  readonly #agents: NetworkAgent[] = [];

  private constructor(folder: string, holder: ChildProcess) {
    this.folder = folder;
    this.#holder = holder;
  }

  /** When the test ends, nothing may be attached any more; unless it says that something is left on purpose. */
  static async open(t: TestContext, { leaves = false } = {}): Promise<NetworkHost> {
    const folder = mkdtempSync(join(tmpdir(), 'berth-net-'));
    const holder = spawn('unshare', ['--net', '--mount', '--propagation', 'private', 'sh', '-e', '-c', setUp], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const ended = once(holder, 'exit').then(() => false);
    if (!(await Promise.race([once(holder.stdout, 'data').then(() => true), ended]))) {
      throw new Error('a network namespace cannot be made: needs root');
    }
    const host = new NetworkHost(folder, holder);
    mkdirSync(host.plugins);
    for (const name of readdirSync(debianPlugins)) symlinkSync(join(debianPlugins, name), join(host.plugins, name));
    t.after(async () => {
      const left = leaves ? [] : [...host.reservedAddresses(), ...host.caches(), ...(await host.veths())];
      for (const agent of host.#agents) await agent.kill();
      holder.stdin.end();
      await ended;
      rmSync(folder, { recursive: true });
      assert.deepEqual(left, [], 'left behind');
    });
    return host;
  }

  get conf(): string {
    return join(this.folder, 'net.d');
  }

  get plugins(): string {
    return join(this.folder, 'bin');
  }

  get cache(): string {
    return join(this.folder, 'cache');
  }

  get addresses(): string {
    return join(this.folder, 'addresses');
  }

  /** Runs a program on this host, or in a pod of it. */
  run(file: string, args: string[], pod?: string): Promise<CommandResult> {
    return command('nsenter', [...this.#entering(pod), file, ...args]);
  }

  spawn(file: string, args: string[], pod?: string): ChildProcess {
    return spawn('nsenter', [...this.#entering(pod), file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  }

  /** A process that has the network open; its options are completed with this host's folders. */
  async agent(options: { maxConfNum?: number; confTemplate?: string; deadline?: number } = {}): Promise<NetworkAgent> {
    const script = join(import.meta.dirname, 'network-agent.ts');
    const child = spawn('nsenter', [...this.#entering(), process.execPath, script], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await once(child, 'message');
    const agent = new NetworkAgent(child);
    this.#agents.push(agent);
    await agent.call('open', {
      config: {
        confDir: this.conf,
        binDirs: ['/no/such/folder', this.plugins],
        confTemplate: options.confTemplate ?? '',
        maxConfNum: options.maxConfNum ?? 1,
      },
      cacheFolder: this.cache,
      ...(options.deadline !== undefined && { pluginDeadlineMilliseconds: options.deadline }),
    });
    return agent;
  }

  /** A configuration of these plugins; `bridge` and `host-local` with two families, if none are said. */
  configure(file: string, plugins: object[] = [this.bridge()], fields: object = {}): void {
    mkdirSync(this.conf, { recursive: true });
    const network = { cniVersion: '1.0.0', name: 'net', plugins, ...fields };
    writeFileSync(join(this.conf, file), JSON.stringify(network));
  }

  bridge(subnets = ['10.99.0.0/24', 'fd99::/64'], fields: object = {}): object {
    const ranges = subnets.map((subnet) => [{ subnet }]);
    const routes = [{ dst: '0.0.0.0/0' }];
    const ipam = { type: 'host-local', dataDir: this.addresses, ranges, routes };
    return { type: 'bridge', bridge: 'cni0', isGateway: true, ipam, ...fields };
  }

  /** A plugin that is a shell script; `result` in it prints what it was given. */
  script(type: string, text: string): object {
    const path = join(this.plugins, type);
    // sed is all the JSON that it needs: prevResult comes last
    const result = `result() { printf %s "$1" | sed 's/.*"prevResult"://; s/}$//'; }`;
    writeFileSync(path, `#!/bin/sh\n${result}\n${text}\n`);
    chmodSync(path, 0o755);
    return { type };
  }

  netns(sandboxId: string): string {
    return `/run/netns/${sandboxId}`;
  }

  request(sandboxId: string, fields: Partial<PodNetworkRequest> = {}): PodNetworkRequest {
    return {
      sandboxId,
      netnsPath: this.netns(sandboxId),
      podName: 'pod',
      podNamespace: 'default',
      podUid: 'uid',
      annotations: {},
      portMappings: [],
      ...fields,
    };
  }

  /** What host-local has given away and not got back. */
  reservedAddresses(): string[] {
    const networks = existsSync(this.addresses) ? readdirSync(this.addresses) : [];
    return networks.flatMap((network) =>
      readdirSync(join(this.addresses, network)).filter((name) => /^[0-9a-f]+[.:]/.test(name)),
    );
  }

  caches(): string[] {
    const folder = join(this.cache, 'results');
    return existsSync(folder) ? readdirSync(folder) : [];
  }

  async veths(): Promise<string[]> {
    const { stdout } = await this.run('ip', ['-o', 'link', 'show', 'type', 'veth']);
    return stdout.split('\n').filter(Boolean);
  }

  read(name: string): string {
    return readFileSync(join(this.folder, name), 'utf8');
  }

  #entering(pod?: string): string[] {
    const namespaces = `/proc/${this.#holder.pid ?? 0}/ns`;
    const net = pod === undefined ? `${namespaces}/net` : `/proc/${this.#holder.pid ?? 0}/root${this.netns(pod)}`;
    return [`--net=${net}`, `--mount=${namespaces}/mnt`, '--'];
  }
}
