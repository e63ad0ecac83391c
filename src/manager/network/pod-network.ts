import { readFileSync, renameSync, statfsSync, writeFileSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { Code, RpcError, isRpcError } from '../../grpc/index.ts';
import { isSystemError } from '../../linux/index.ts';
import type { Config } from '../config/config.ts';
import { type Attachment, AttachmentCache, type PodAttachments, attachmentsKind } from './attachment-cache.ts';
import { ConfFolder } from './conf-folder.ts';
import { ConfWatch } from './conf-watch.ts';
import { type NetworkConf, capabilitiesOf } from './network-conf.ts';
import { Networks, type Target } from './networks.ts';
import { endOrphanedCalls } from './orphans.ts';
import { PluginBinaries } from './plugin-binaries.ts';
import { Plugins } from './plugins.ts';
import { conflistForPodCidr, generatedName, parsePodCidr } from './pod-cidr.ts';
import { type ProgramNative, Programs } from './program.ts';
import { type PodNetworkRequest, capabilityArguments, checkSandboxId, cniArguments } from './request.ts';
import { type NetworkResult, addressesOf } from './result.ts';
import { StatusProbe } from './status-probe.ts';
import { Turns } from './turns.ts';

export interface PodNetworkOptions {
  readonly config: Config['network'];
  /** Where it is kept what is attached; made if it is not there. */
  readonly cacheFolder: string;
  readonly native: ProgramNative;
  readonly log: Logger;
  /** What plugins get besides CNI_*: this process's environment, as a rule. Default: a PATH. */
  readonly environment?: NodeJS.ProcessEnv;
  /** How long a plugin may take before it is killed. Default 60,000. */
  readonly pluginDeadlineMilliseconds?: number;
}

export interface PodNetworkResult {
  /** Of eth0, the primary one first. */
  readonly ips: readonly string[];
  /** The plugins' results by interface. */
  readonly interfaces: Readonly<Record<string, NetworkResult>>;
}

export interface NetworkStatus {
  readonly ready: boolean;
  /** '' when ready. */
  readonly reason: string;
  readonly message: string;
}

/** A network in use, for those who ask verbosely; what its file says beyond that may be secret. */
export interface NetworkSummary {
  readonly name: string;
  readonly file: string;
  readonly cniVersion: string;
  readonly interfaceName: string;
  readonly plugins: readonly { readonly type: string; readonly capabilities: readonly string[] }[];
}

const namespaceFilesystem = 0x6e736673;
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What is meant for this process, or set for each call. */
const notForPlugins = /^(CNI_|NOTIFY_SOCKET$|WATCHDOG_|LISTEN_|BERTH_)/;

function environmentForPlugins(environment: NodeJS.ProcessEnv): string[] {
  const own = Object.entries(environment).filter(([name]) => !notForPlugins.test(name) && name !== 'PATH');
  return [`PATH=${environment['PATH'] ?? defaultPath}`, ...own.map(([name, value]) => `${name}=${value ?? ''}`)];
}

function interfaceName(at: number): string {
  return `eth${at}`;
}

/** Whether a network namespace is there; a file in its place is none. */
function namespaceIsThere(path: string): boolean {
  try {
    return path !== '' && statfsSync(path).type === namespaceFilesystem;
  } catch {
    return false;
  }
}

/** Those capability arguments that a plugin asks for: others need not be kept. */
function understood(
  offered: Readonly<Record<string, unknown>>,
  networks: readonly NetworkConf[],
): Record<string, unknown> {
  const asked = new Set(networks.flatMap(({ plugins }) => plugins.flatMap(capabilitiesOf)));
  return Object.fromEntries(Object.entries(offered).filter(([name]) => asked.has(name)));
}

/** Connects pods to networks by CNI plugins. */
export class PodNetwork {
  readonly #config: Config['network'];
  readonly #log: Logger;
  readonly #cache: AttachmentCache;
  readonly #podCidrFile: string;
  readonly #folder: ConfFolder;
  readonly #networks: Networks;
  readonly #probe: StatusProbe;
  readonly #turns = new Turns();
  readonly #watch: ConfWatch;
  #loaded: readonly NetworkConf[] = [];
  #skipped: readonly string[] = [];
  #reloading: Promise<void> = Promise.resolve();
  #podRanges: readonly string[] = [];
  /** Whose ADD this process began: no other can still be at it. */
  readonly #begunHere = new Set<string>();

  private constructor(options: PodNetworkOptions) {
    const { config, cacheFolder, native, log, environment = {}, pluginDeadlineMilliseconds = 60_000 } = options;
    this.#config = config;
    this.#log = log;
    this.#cache = new AttachmentCache(join(cacheFolder, 'results'));
    this.#podCidrFile = join(cacheFolder, 'pod-cidr');
    this.#folder = new ConfFolder(config.confDir, config.maxConfNum, log);
    const binaries = new PluginBinaries(config.binDirs);
    const plugins = new Plugins(binaries, new Programs(native), environmentForPlugins(environment), log);
    this.#networks = new Networks(plugins, pluginDeadlineMilliseconds, log);
    this.#probe = new StatusProbe((network) => this.#networks.status(network));
    this.#podRanges = this.#rememberedPodRanges();
    this.#watch = new ConfWatch({
      folder: config.confDir,
      changed: () => this.#reload(),
      signature: () => this.#folder.signature(),
    });
  }

  static async open(options: PodNetworkOptions): Promise<PodNetwork> {
    const network = new PodNetwork(options);
    await network.#reload();
    return network;
  }

  /** As of now for the configuration; what plugins said of themselves may be some seconds old. See `probe`. */
  status(): NetworkStatus {
    const notReady = (message: string) => ({ ready: false, reason: 'NetworkPluginNotReady', message });
    if (this.#loaded.length === 0) return notReady(this.#notInitialized());
    const problem = this.#probe.problem(this.#loaded);
    return problem === undefined ? { ready: true, reason: '', message: '' } : notReady(problem);
  }

  /** Asks the plugins anew that can say whether they are ready, for the next `status`. */
  async probe(): Promise<void> {
    await this.#probe.ask(this.#loaded);
  }

  /** The networks that the next pod is attached to. */
  conflists(): NetworkSummary[] {
    return this.#loaded.map(({ name, file, cniVersion, plugins }, at) => ({
      name,
      file,
      cniVersion,
      interfaceName: interfaceName(at),
      plugins: plugins.map((plugin) => ({ type: plugin.type, capabilities: capabilitiesOf(plugin) })),
    }));
  }

  /**
   * Attaches a pod; what a failure, or a signal, leaves is undone before it is reported.
   * @throws {RpcError} INVALID_ARGUMENT for a request that makes no sense, FAILED_PRECONDITION without a network, ALREADY_EXISTS
   * for a pod that is attached, else as the plugin's failure is
   */
  async attach(request: PodNetworkRequest, signal?: AbortSignal): Promise<PodNetworkResult> {
    const { sandboxId, netnsPath } = request;
    checkSandboxId(sandboxId);
    const common = {
      kind: attachmentsKind,
      sandboxId,
      netnsPath,
      arguments: cniArguments(request),
    } as const;
    const offered = { ...this.#rangesCapability(), ...capabilityArguments(request) };
    return this.#turns.shared(sandboxId, async () => {
      if (this.#cache.read(sandboxId) !== undefined) {
        throw new RpcError(Code.AlreadyExists, `pod ${sandboxId} is attached to its network already`);
      }
      const networks = await this.#current();
      if (signal?.aborted === true) throw new RpcError(Code.Cancelled, `attaching pod ${sandboxId} was cancelled`);
      const intents = networks.map((network, at) => ({
        interfaceName: interfaceName(at),
        network,
        result: null,
      }));
      const pod = { ...common, capabilities: understood(offered, networks), attachments: intents };
      this.#begunHere.add(sandboxId);
      this.#cache.write(pod);
      try {
        return await this.#addAll(pod, signal);
      } catch (error) {
        await this.#removeAfterFailure(sandboxId, netnsPath);
        throw error;
      }
    });
  }

  /**
   * Detaches a pod as it was attached, also when the network namespace, the configuration or a plugin has gone, and when it was
   * attached only half. Harmless for a pod that is not attached.
   * @throws {RpcError} when a plugin fails; then it is to be called again
   */
  async detach(sandboxId: string, netnsPath: string): Promise<void> {
    checkSandboxId(sandboxId);
    await this.#turns.shared(sandboxId, () => this.#removeAll(sandboxId, netnsPath));
  }

  /** @throws {RpcError} NOT_FOUND for a pod that is not attached, FAILED_PRECONDITION for one that is only half; else the plugin's */
  async check(sandboxId: string): Promise<void> {
    checkSandboxId(sandboxId);
    await this.#turns.shared(sandboxId, async () => {
      const pod = this.#cache.read(sandboxId);
      if (pod === undefined || pod === 'unreadable') {
        throw new RpcError(Code.NotFound, `pod ${sandboxId} is not attached to a network`);
      }
      for (const { network, interfaceName, result } of pod.attachments) {
        if (result === null) {
          throw new RpcError(Code.FailedPrecondition, `pod ${sandboxId} was not attached to network "${network.name}"`);
        }
        await this.#networks.check(network, { ...pod, interfaceName }, result);
      }
    });
  }

  /**
   * Detaches all pods but these and those that this process has attached, and lets plugins that can give back what belongs to no pod. A failure is logged, and is tried again
   * by the next call.
   */
  async garbageCollect(validSandboxIds: ReadonlySet<string> | readonly string[]): Promise<void> {
    const valid = new Set(validSandboxIds);
    // A pod that was attached after the caller had listed those that are valid is not to be lost.
    const stale = this.#cache.list().filter((id) => !valid.has(id) && !this.#begunHere.has(id));
    for (const sandboxId of stale) {
      try {
        await this.detach(sandboxId, '');
      } catch (error) {
        this.#log.warn({ sandboxId, err: error }, 'a pod that is no more could not be detached');
      }
    }
    if (!this.#loaded.some((network) => network.cniVersion.startsWith('1.1'))) return;
    await this.#turns.alone(async () => {
      const attached = this.#cache
        .list()
        .map((id) => this.#cache.read(id))
        .filter((pod) => pod !== undefined && pod !== 'unreadable');
      for (const network of this.#loaded) {
        const ofNetwork = attached.flatMap(({ sandboxId, attachments }) =>
          attachments
            .filter((attachment) => attachment.network.name === network.name)
            .map((attachment) => ({ containerID: sandboxId, ifname: attachment.interfaceName })),
        );
        await this.#networks.collectGarbage(network, ofNetwork);
      }
    });
  }

  /**
   * Takes the node's pod networks: plugins that understand `ipRanges` get them from now on, and a configuration is made of the
   * template, if there is one and no other configuration. '' changes nothing.
   * @throws {RpcError} INVALID_ARGUMENT, FAILED_PRECONDITION for a template that is not valid
   */
  async setPodCidr(cidr: string): Promise<void> {
    if (cidr.trim() === '') return;
    const ranges = parsePodCidr(cidr);
    this.#podRanges = ranges;
    writeFileSync(`${this.#podCidrFile}.tmp`, ranges.join(','));
    renameSync(`${this.#podCidrFile}.tmp`, this.#podCidrFile);
    const { confTemplate, confDir } = this.#config;
    if (confTemplate === '') return;
    const path = join(confDir, generatedName);
    await this.#reload();
    const other = this.#loaded.find(({ file }) => file !== path);
    if (other !== undefined) {
      this.#log.info({ file: other.file }, 'there is a network configuration: none is made of the template');
      return;
    }
    const text = conflistForPodCidr(await this.#template(confTemplate), confTemplate, ranges);
    await mkdir(confDir, { recursive: true, mode: 0o755 });
    // Names with this ending are not read.
    writeFileSync(`${path}.tmp`, text, { mode: 0o644 });
    renameSync(`${path}.tmp`, path);
    this.#log.info({ file: path, podCidr: cidr }, 'network configuration made of the template');
    await this.#reload();
  }

  /** Sees no more changes of the configuration. */
  close(): void {
    this.#watch.close();
  }

  async #template(path: string): Promise<string> {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      const why = (error as Error).message;
      throw new RpcError(Code.FailedPrecondition, `the network template cannot be read: ${why}`, { cause: error });
    }
  }

  #rememberedPodRanges(): string[] {
    try {
      return parsePodCidr(readFileSync(this.#podCidrFile, 'utf8'));
    } catch (error) {
      if (isSystemError(error, 'ENOENT') || isRpcError(error)) return [];
      throw error;
    }
  }

  #rangesCapability(): Record<string, unknown> {
    return this.#podRanges.length === 0 ? {} : { ipRanges: this.#podRanges.map((subnet) => [{ subnet }]) };
  }

  #notInitialized(): string {
    const skipped = this.#skipped.length === 0 ? '' : ` (skipped: ${this.#skipped.join('; ')})`;
    return `cni plugin not initialized: no network config in ${this.#config.confDir}${skipped}`;
  }

  /** One at a time, so that what was read last counts. */
  #reload(): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#load());
    return this.#reloading;
  }

  async #load(): Promise<void> {
    const before = JSON.stringify(this.#loaded);
    try {
      const { networks, skipped } = await this.#folder.load();
      this.#loaded = networks;
      this.#skipped = skipped;
    } catch (error) {
      this.#loaded = [];
      this.#skipped = [`${this.#config.confDir}: ${(error as Error).message}`];
    }
    if (JSON.stringify(this.#loaded) === before) return;
    const used = this.#loaded.map(({ name, file }) => ({ name, file }));
    this.#log.info({ networks: used }, used.length === 0 ? 'there is no network configuration' : 'networks loaded');
    this.#probe.forget();
  }

  async #current(): Promise<readonly NetworkConf[]> {
    // A configuration that was put there just now need not have been seen yet.
    if (this.#loaded.length === 0) await this.#reload();
    if (this.#loaded.length > 0) return this.#loaded;
    throw new RpcError(
      Code.FailedPrecondition,
      `${this.#notInitialized()}: put one there, or run the pod in the host's network`,
    );
  }

  /** One after the other: the specification allows no more for one pod. */
  async #addAll(pod: PodAttachments, signal: AbortSignal | undefined): Promise<PodNetworkResult> {
    let attachments = pod.attachments;
    for (const [at, { network, interfaceName }] of pod.attachments.entries()) {
      const result = await this.#networks.add(network, { ...pod, interfaceName }, signal);
      attachments = attachments.map((attachment, other) => (other === at ? { ...attachment, result } : attachment));
      this.#cache.write({ ...pod, attachments });
    }
    const primary = attachments[0] as Attachment;
    const ips = addressesOf(primary.result as NetworkResult, primary.interfaceName);
    if (ips.length === 0) {
      throw new RpcError(
        Code.Internal,
        `network "${primary.network.name}" (${primary.network.file}) gave ${primary.interfaceName} no address`,
      );
    }
    return {
      ips,
      interfaces: Object.fromEntries(attachments.map(({ interfaceName, result }) => [interfaceName, result ?? {}])),
    };
  }

  async #removeAfterFailure(sandboxId: string, netnsPath: string): Promise<void> {
    try {
      await this.#removeAll(sandboxId, netnsPath);
    } catch (error) {
      this.#log.warn({ sandboxId, err: error }, 'what a failed attachment left could not be undone yet');
    }
  }

  async #removeAll(sandboxId: string, netnsPath: string): Promise<void> {
    const cached = this.#cache.read(sandboxId);
    if (cached === undefined) return;
    const pod = cached === 'unreadable' ? this.#guess(sandboxId, netnsPath) : cached;
    if (!this.#begunHere.has(sandboxId) && pod.attachments.some(({ result }) => result === null)) {
      await endOrphanedCalls(sandboxId);
    }
    const path = netnsPath === '' ? pod.netnsPath : netnsPath;
    for (const { network, interfaceName, result } of pod.attachments.toReversed()) {
      const target: Target = { ...pod, interfaceName, netnsPath: namespaceIsThere(path) ? path : '' };
      await this.#networks.remove(network, target, result);
    }
    this.#cache.remove(sandboxId);
    this.#begunHere.delete(sandboxId);
  }

  /** What the pod was attached to, where the file that knew has not survived: the networks of now. */
  #guess(sandboxId: string, netnsPath: string): PodAttachments {
    this.#log.warn(
      { sandboxId },
      'what the pod was attached to cannot be read: it is detached from the networks of now',
    );
    return {
      kind: attachmentsKind,
      sandboxId,
      netnsPath,
      arguments: `IgnoreUnknown=1;K8S_POD_INFRA_CONTAINER_ID=${sandboxId}`,
      capabilities: {},
      attachments: this.#loaded.map((network, at) => ({ interfaceName: interfaceName(at), network, result: null })),
    };
  }
}
