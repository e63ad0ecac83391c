import { hostname as hostHostname } from 'node:os';
import type { Logger } from 'pino';
import { Code, isRpcError, RpcError } from '../../grpc/index.ts';
import { cri, nowNanoseconds } from '../../wire/index.ts';
import type { PodNetwork, PodNetworkRequest } from '../network/index.ts';
import { cgroupsPath, checkSandboxConfig, type HostFacts } from '../spec/index.ts';
import type { PodShim, Shims } from '../tasks/index.ts';
import type { ContainerRecords } from './container-records.ts';
import type { Containers } from './containers.ts';
import { isAlive } from './container-record.ts';
import type { KeyedLock } from './keyed-lock.ts';
import type { Layout } from './layout.ts';
import { type Names, sandboxName } from './names.ts';
import type { PodEvents } from './pod-events.ts';
import type { PodShims } from './pod-shims.ts';
import type { SandboxFiles } from './sandbox-files.ts';
import { type SandboxRecord, usesHostNetwork } from './sandbox-record.ts';
import type { SandboxRecords } from './sandbox-records.ts';
import type { TaskEvents } from './task-events.ts';
import { UndoStack } from './undo.ts';

const stopSandboxSeconds = 10;
/** What the exit code of a container is whose shim was killed and did not note one. */
const lostExitStatus = 137;

export interface SandboxesOptions {
  readonly records: SandboxRecords;
  readonly containerRecords: ContainerRecords;
  readonly containers: Containers;
  /** Starts shims, and cleans up after those that have died. */
  readonly starter: Shims;
  /** Those that we are connected to. */
  readonly shims: PodShims;
  readonly network: PodNetwork;
  readonly files: SandboxFiles;
  readonly taskEvents: TaskEvents;
  readonly events: PodEvents;
  readonly locks: KeyedLock;
  readonly names: Names;
  readonly layout: Layout;
  readonly host: HostFacts;
  /** The configured runtime that a handler's name means. @throws {RpcError} NOT_FOUND when there is none */
  readonly runtimeOf: (handler: string) => string;
  /** Forgets the marks of a sandbox's events, once it is removed. */
  readonly forgetEvents: (sandboxId: string) => void;
  readonly log: Logger;
}

/** The life of pod sandboxes, from RunPodSandbox to RemovePodSandbox. */
export class Sandboxes {
  readonly #o: SandboxesOptions;
  /** Those whose process has ended before they were ready. */
  readonly #endedEarly = new Set<string>();

  constructor(options: SandboxesOptions) {
    this.#o = options;
    // What an earlier daemon did not finish making is undone, and keeps nobody from making it again.
    const finished = options.records.list().filter(({ state }) => state !== 'creating');
    for (const { id, config } of finished) options.names.take(sandboxName(config), id);
  }

  /** @throws {RpcError} NOT_FOUND */
  get(id: string): SandboxRecord {
    const record = this.#o.records.find(id);
    if (record !== undefined && record.state !== 'creating') return record;
    throw new RpcError(Code.NotFound, `there is no pod sandbox "${id}": "berthctl pods" lists them`);
  }

  /**
   * Makes a sandbox that containers can be put into.
   * @throws {RpcError} INVALID_ARGUMENT for what the configuration asks for wrongly; ALREADY_EXISTS when the name is taken; what
   * the network or the shim fail with. Nothing is left of it then.
   */
  async run(config: cri.PodSandboxConfig, runtimeHandler: string): Promise<string> {
    checkSandboxConfig(config);
    // A parent that no container could be put under is refused now.
    cgroupsPath(config, '', this.#o.host);
    const runtime = this.#o.runtimeOf(runtimeHandler);
    const name = sandboxName(config);
    this.#o.names.assertFree(name);
    const { id, shim: starting } = await this.#o.starter.reserve(runtime);
    // It fails, if it does, where it is waited for.
    starting.catch(() => undefined);
    const undo = new UndoStack(this.#o.log);
    undo.add('shim', () => this.#abandon(id, starting));
    try {
      this.#o.names.take(name, id);
      undo.add('name', () => this.#o.names.release(name, id));
      await this.#make(newRecord(id, config, runtimeHandler, runtime, this.#o.layout), starting, undo);
    } catch (error) {
      await undo.run();
      throw error;
    }
    this.#o.events.tell('created', id, id);
    this.#o.events.tell('started', id, id);
    return id;
  }

  /** Ends all that runs in it and gives its network back. One that is stopped, or not there, is no error. */
  async stop(idOrPrefix: string): Promise<void> {
    const id = this.#o.records.find(idOrPrefix)?.id;
    if (id === undefined) return;
    await this.#o.shims.met(id);
    await this.#o.locks.hold(id, () => this.#stop(id));
  }

  /** Removes it and its containers, whatever they do. One that is not there is no error. */
  async remove(idOrPrefix: string): Promise<void> {
    const id = this.#o.records.find(idOrPrefix)?.id;
    if (id === undefined) return;
    await this.#o.shims.met(id);
    const removed = await this.#o.locks.hold(id, async () => {
      if (!(await this.#stop(id))) return false;
      this.#o.records.update(id, { state: 'removing' });
      for (const { id: container } of this.#o.containerRecords.ofSandbox(id))
        await this.#o.containers.remove(container);
      await this.#forget(id);
      return true;
    });
    if (removed) this.#o.events.tell('deleted', id, id);
  }

  /** After a crash: undoes what RunPodSandbox had begun. */
  async discard(id: string): Promise<void> {
    const record = this.#o.records.get(id);
    if (record === undefined) return;
    await this.#o.locks.hold(id, async () => {
      this.#o.shims.letGo(id);
      await this.#o.starter.cleanUpAbandoned(id);
      await this.#releaseNetwork(record);
      await this.#forget(id);
    });
  }

  /** Its shim has gone: its containers have ended with it, and it is not ready any more. */
  async shimLost(id: string): Promise<void> {
    await this.#o.locks.hold(id, () => this.#loseShim(id));
  }

  /** The process that stands for it has ended, though nobody asked it to: nothing can be made in it any more. */
  ended(id: string): void {
    const record = this.#o.records.get(id);
    if (record?.state === 'creating') this.#endedEarly.add(id);
    if (record?.state !== 'ready' || record.stopping) return;
    this.#o.log.warn({ sandbox: id }, 'the process that holds the namespaces of a pod has ended');
    this.#o.records.update(id, { state: 'notready', pid: 0 });
    this.#o.events.tell('stopped', id, id);
  }

  /** The lock is held. */
  async #loseShim(id: string): Promise<void> {
    const record = this.#o.records.get(id);
    if (record === undefined || record.shim === null) return;
    this.#o.shims.letGo(id);
    const containers = this.#o.containerRecords.ofSandbox(id).filter((one) => isAlive(one) || one.hasTask);
    const lost = containers.map((one) => ({ id: one.id, bundle: this.#o.layout.bundle(one.id) }));
    const exits = (await this.#o.starter.cleanUp(record.shim, lost))?.containers;
    for (const { id: container } of containers) {
      const exit = exits?.get(container) ?? { exitStatus: lostExitStatus, exitedAt: nowNanoseconds() };
      this.#o.taskEvents.endedWithShim(container, exit);
    }
    this.#o.records.update(id, { state: record.state === 'ready' ? 'notready' : record.state, shim: null, pid: 0 });
    this.#o.events.tell('stopped', id, id);
  }

  /** Ends a shim that is being started, or was, for a pod that is not to be. */
  async #abandon(id: string, starting: Promise<PodShim>): Promise<void> {
    const shim = await starting.catch(() => undefined);
    this.#o.shims.letGo(id);
    await shim?.shutdown().catch(() => undefined);
    await this.#o.starter.cleanUpAbandoned(id);
  }

  async #make(record: SandboxRecord, starting: Promise<PodShim>, undo: UndoStack): Promise<void> {
    const { id, config, netnsPath, hostname } = record;
    const { files, network, records } = this.#o;
    records.put(record);
    undo.add('record', () => records.delete(id));
    undo.add('files', () => files.remove(id));
    // What tells how to find the shim is among the files.
    undo.add('shim, before its files', () => this.#abandon(id, starting));
    await files.write(record).catch(async (error: unknown) => {
      // A shim that cannot be started takes the folder with it: then that is the reason.
      await starting;
      throw error;
    });
    files.makeNetwork(record);
    undo.add('network', () => this.#releaseNetwork(record));
    const attaching = netnsPath === '' ? Promise.resolve(undefined) : network.attach(networkRequest(record));
    const bringingUp = starting.then(async (shim) => {
      this.#o.shims.add(id, shim);
      const { pid } = await shim.startSandbox({ hostname, netnsPath, annotations: config.annotations });
      return { pid, info: shim.info };
    });
    // Both must have ended before anything is undone.
    const [attached, up] = await Promise.allSettled([attaching, bringingUp]);
    if (attached.status === 'rejected') throw attached.reason as Error;
    if (up.status === 'rejected') throw up.reason as Error;
    const ips = attached.value?.ips ?? [];
    if (ips.length > 0) await files.writeHosts(record, ips);
    if (this.#o.shims.find(id) === undefined || this.#endedEarly.delete(id)) {
      throw new RpcError(Code.Unavailable, `the shim of the new pod ${id} has ended already: its log may say why`);
    }
    records.put({
      ...record,
      state: 'ready',
      shim: up.value.info,
      pid: up.value.pid,
      ips,
      networkResult: attached.value?.interfaces ?? null,
    });
    this.#o.shims.watchSandbox(id);
  }

  /** The lock is held. False when there is nothing to stop. */
  async #stop(id: string): Promise<boolean> {
    const record = this.#o.records.get(id);
    if (record === undefined || record.state === 'creating') return false;
    if (record.state === 'notready' && record.shim === null && record.networkReleased) return true;
    this.#o.records.update(id, { stopping: true });
    const containers = this.#o.containerRecords.ofSandbox(id);
    try {
      await Promise.all(containers.map((one) => this.#o.containers.stop(one.id, 0)));
      await Promise.all(containers.map((one) => this.#o.containers.releaseTask(one.id)));
    } catch (error) {
      // A shim that hangs, or a runtime that is broken, must not keep a pod from going.
      if (!isRpcError(error)) throw error;
      this.#o.log.warn({ sandbox: id, err: error }, 'the shim of a pod does not do what it is told: it is killed');
      await this.#loseShim(id);
    }
    await Promise.all(containers.map((one) => this.#o.taskEvents.settle(one.id)));
    const outcomes = await Promise.allSettled([
      this.#endShim(this.#o.records.get(id) ?? record).then(() => this.#o.records.update(id, { shim: null, pid: 0 })),
      this.#releaseNetwork(record),
    ]);
    // Whoever has asked asks again.
    const failed = outcomes.find(({ status }) => status === 'rejected');
    if (failed?.status === 'rejected') throw failed.reason as Error;
    const wasReady = record.state === 'ready';
    this.#o.records.update(id, {
      state: record.state === 'removing' ? 'removing' : 'notready',
      shim: null,
      pid: 0,
      stopping: false,
      networkReleased: true,
    });
    if (wasReady) this.#o.events.tell('stopped', id, id);
    return true;
  }

  async #endShim({ id, shim: info }: SandboxRecord): Promise<void> {
    if (info === null) return;
    const shim = this.#o.shims.letGo(id);
    try {
      await shim?.stopSandbox(stopSandboxSeconds);
      await shim?.shutdown();
    } catch (error) {
      this.#o.log.warn({ sandbox: id, err: error }, 'a shim does not end when it is asked to: it is killed');
    }
    await this.#o.starter.cleanUp(info);
  }

  async #releaseNetwork({ id, netnsPath, networkReleased }: SandboxRecord): Promise<void> {
    if (netnsPath === '' || networkReleased) return;
    await this.#o.network.detach(id, netnsPath);
    this.#o.files.releaseNetwork(id);
  }

  async #forget(id: string): Promise<void> {
    const record = this.#o.records.get(id);
    await this.#o.files.remove(id);
    this.#o.records.delete(id);
    this.#o.forgetEvents(id);
    if (record !== undefined) this.#o.names.release(sandboxName(record.config), id);
  }
}

function newRecord(
  id: string,
  config: cri.PodSandboxConfig,
  runtimeHandler: string,
  runtime: string,
  layout: Layout,
): SandboxRecord {
  const onHost = usesHostNetwork(config);
  return {
    id,
    config,
    runtimeHandler,
    runtime,
    state: 'creating',
    createdAt: nowNanoseconds(),
    hostname: config.hostname !== '' || !onHost ? config.hostname : hostHostname(),
    netnsPath: onHost ? '' : layout.networkNamespace(id),
    ips: [],
    networkResult: null,
    shim: null,
    pid: 0,
    stopping: false,
    networkReleased: false,
  };
}

const protocols = new Map<number, PodNetworkRequest['portMappings'][number]['protocol']>([
  [cri.Protocol.TCP, 'tcp'],
  [cri.Protocol.UDP, 'udp'],
  [cri.Protocol.SCTP, 'sctp'],
]);

function networkRequest({ id, netnsPath, config }: SandboxRecord): PodNetworkRequest {
  const { metadata, dnsConfig, portMappings, annotations, linux } = config;
  return {
    sandboxId: id,
    netnsPath,
    podName: metadata?.name ?? '',
    podNamespace: metadata?.namespace ?? '',
    podUid: metadata?.uid ?? '',
    annotations,
    portMappings: portMappings.map(({ protocol, containerPort, hostPort, hostIp }) => ({
      protocol: protocols.get(protocol) ?? 'tcp',
      containerPort,
      hostPort,
      hostIp,
    })),
    ...(dnsConfig && {
      dns: { servers: dnsConfig.servers, searches: dnsConfig.searches, options: dnsConfig.options },
    }),
    ...(linux !== undefined && linux.cgroupParent !== '' && { cgroupParent: linux.cgroupParent }),
  };
}
