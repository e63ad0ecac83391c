import { join } from 'node:path';
import type { Logger } from 'pino';
import { Code, RpcError } from '../../grpc/index.ts';
import { type cri, nowNanoseconds } from '../../wire/index.ts';
import type { ImageRecord, Images } from '../images/index.ts';
import {
  buildSpec,
  checkContainerConfig,
  type HostFacts,
  type ImageAccounts,
  imageVolumes,
  stopSignalOf,
} from '../spec/index.ts';
import { type ContainerRecord, untold } from './container-record.ts';
import type { ContainerRecords } from './container-records.ts';
import type { ContainerRootfs } from './container-rootfs.ts';
import { newId } from './ids.ts';
import type { Layout } from './layout.ts';
import { containerName, type Names } from './names.ts';
import type { SandboxRecord } from './sandbox-record.ts';
import type { SandboxRecords } from './sandbox-records.ts';
import type { SpecFile } from './spec-file.ts';
import { UndoStack } from './undo.ts';

export interface ContainerCreationOptions {
  readonly records: ContainerRecords;
  readonly sandboxes: SandboxRecords;
  readonly images: Images;
  readonly accounts: ImageAccounts;
  readonly rootfs: ContainerRootfs;
  readonly specFile: SpecFile;
  readonly names: Names;
  readonly layout: Layout;
  readonly host: HostFacts;
  readonly log: Logger;
}

/** Makes containers that can be started. Their shims know nothing of them before that. */
export class ContainerCreation {
  readonly #o: ContainerCreationOptions;

  constructor(options: ContainerCreationOptions) {
    this.#o = options;
    // What an earlier daemon did not finish making is undone, and keeps nobody from making it again.
    for (const { id, sandboxId, config, state } of options.records.list()) {
      if (state !== 'creating') options.names.take(containerName(sandboxId, config), id);
    }
  }

  /** Gives the new container's record. Nothing is left of it when this rejects. */
  async create(
    sandboxId: string,
    config: cri.ContainerConfig,
    sandboxConfig: cri.PodSandboxConfig,
  ): Promise<ContainerRecord> {
    const { records, sandboxes, images, names, rootfs, log } = this.#o;
    const sandbox = sandboxes.ready(sandboxId);
    checkContainerConfig(config, sandboxConfig);
    const reference = config.image?.image ?? '';
    const image = images.find(reference);
    if (image === undefined) {
      throw new RpcError(Code.NotFound, `image "${reference}" is not here: pull it first (berthctl pull ${reference})`);
    }
    const id = newId();
    const name = containerName(sandbox.id, config);
    names.take(name, id);
    const undo = new UndoStack(log);
    undo.add('name', () => names.release(name, id));
    try {
      const record = records.put(newRecord(id, sandbox, config, image));
      undo.add('record', () => records.delete(id));
      undo.add('rootfs', () => rootfs.remove(id));
      const user = await this.#prepare(record, sandbox, image);
      // The sandbox may have been stopped meanwhile.
      sandboxes.ready(sandboxId);
      return records.put({ ...record, user, state: 'created' });
    } catch (error) {
      await undo.run();
      throw error;
    }
  }

  async #prepare(
    record: ContainerRecord,
    sandbox: SandboxRecord,
    image: ImageRecord,
  ): Promise<ContainerRecord['user']> {
    const { id, config } = record;
    const { layout, images, rootfs, host, accounts, log } = this.#o;
    const layers = images.layers(image.id);
    const volumes = await rootfs.prepare(id, imageVolumes(image.config, config), layers);
    const target = this.#targetPid(record, config);
    const { spec, user, warnings } = await buildSpec({
      sandbox: {
        id: sandbox.id,
        config: sandbox.config,
        netnsPath: sandbox.netnsPath,
        pid: sandbox.pid,
        hostname: sandbox.hostname,
        hostsPath: layout.sandboxFile(sandbox.id, 'hosts'),
        hostnamePath: layout.sandboxFile(sandbox.id, 'hostname'),
        resolvConfPath: layout.sandboxFile(sandbox.id, 'resolv.conf'),
      },
      container: { id, config, bundle: layout.bundle(id), volumes, ...(target !== undefined && { targetPid: target }) },
      image: { record: image, layers },
      runtimeHandler: sandbox.runtime,
      host,
      accounts,
    });
    if (warnings.length > 0) log.warn({ container: id, warnings }, 'not all that was asked for is given');
    await this.#o.specFile.write(id, spec);
    return user;
  }

  /** The process whose PID namespace the container asks to join. */
  #targetPid({ sandboxId }: ContainerRecord, config: cri.ContainerConfig): number | undefined {
    const targetId = config.linux?.securityContext?.namespaceOptions?.targetId ?? '';
    if (targetId === '') return undefined;
    const target = this.#o.records.find(targetId);
    if (target?.sandboxId !== sandboxId || target.state !== 'running') {
      throw new RpcError(
        Code.FailedPrecondition,
        `the container ${targetId}, whose PID namespace is to be shared, does not run in pod ${sandboxId}`,
      );
    }
    return target.pid;
  }
}

function newRecord(
  id: string,
  sandbox: SandboxRecord,
  config: cri.ContainerConfig,
  image: ImageRecord,
): ContainerRecord {
  const folder = sandbox.config.logDirectory;
  return {
    id,
    sandboxId: sandbox.id,
    config,
    imageId: image.id,
    imageRef: image.digests[0] ?? image.id,
    state: 'creating',
    createdAt: nowNanoseconds(),
    startedAt: 0n,
    finishedAt: 0n,
    pid: 0,
    exitCode: 0,
    reason: '',
    message: '',
    oomKilled: false,
    hasTask: false,
    told: untold,
    undoneAt: 0n,
    logPath: folder === '' || config.logPath === '' ? '' : join(folder, config.logPath),
    stopSignal: stopSignalOf(config, image.config),
    stop: null,
    user: { uid: 0, gid: 0, additionalGids: [] },
    resources: config.linux?.resources,
    cgroups: {},
  };
}
