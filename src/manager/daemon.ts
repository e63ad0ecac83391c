import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { LevelWithSilent, Logger } from 'pino';
import { GrpcServer } from '../grpc/index.ts';
import { CgroupMoves, type NativeAddon } from '../linux/index.ts';
import { berth, cri } from '../wire/index.ts';
import { Calls } from './calls.ts';
import type { Config } from './config/index.ts';
import { DiskUsages, ImageService, RuntimeService, RuntimeStatus, Stats } from './cri/index.ts';
import { EventJournal } from './events/index.ts';
import { Images } from './images/index.ts';
import { installationId } from './installation-id.ts';
import { PodNetwork } from './network/index.ts';
import {
  ContainerCreation,
  ContainerRecords,
  ContainerResources,
  ContainerRootfs,
  Containers,
  ContainerStop,
  ContainerTask,
  KeyedLock,
  Layout,
  Names,
  PodEvents,
  PodShims,
  SandboxFiles,
  SandboxRecords,
  Sandboxes,
  SpecFile,
  TaskEvents,
} from './pods/index.ts';
import { Orphans, Recovery } from './recovery/index.ts';
import { isAuthorized, placeSocket } from './server-socket.ts';
import {
  berthImagesService,
  containerDirectory,
  criNamespace,
  endlessMethods,
  registerServices,
  taskDirectory,
} from './services/index.ts';
import { detectHost, ImageAccounts } from './spec/index.ts';
import { Store } from './store/index.ts';
import { resolveRuntimes, runtimeNamed, ShimEventsServer, Shims } from './tasks/index.ts';

const folderMode = 0o711;
/** What containers have made, setuid programs and devices among it, is for no other user of the machine. */
const privateMode = 0o700;

/** What main has made ready. */
export interface DaemonOptions {
  readonly config: Config;
  /** The same as TOML. */
  readonly configText: string;
  readonly native: NativeAddon;
  /** Path of the addon. */
  readonly addon: string;
  readonly log: Logger;
  readonly version: string;
  /** Nanoseconds since the epoch. */
  readonly startedAt: bigint;
  /** Absolute path of our own shim. */
  readonly shimBinary: string;
  /** What programs that we run inherit; PATH at least. */
  readonly environment: Readonly<Record<string, string>>;
  logLevel(): string;
  setLogLevel(level: LevelWithSilent): void;
}

export interface RunningDaemon {
  /** Takes no more calls, lets those that run end within so many milliseconds, and leaves all containers as they are. */
  stop(deadlineMs: number): Promise<void>;
}

/**
 * Puts the parts together, meets the shims of an earlier daemon again, and serves. The folders `state` and `root` are there, and are
 * ours alone. What was cut off by the earlier daemon's death is finished or undone while calls are already served; each pod and
 * container has a lock, so a call meets it either before or after.
 */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const { config, native, addon, log, shimBinary, environment } = options;
  const layout = new Layout(config.root, config.state);
  for (const folder of [layout.sandboxes, layout.namespaces]) mkdirSync(folder, { recursive: true, mode: folderMode });
  for (const folder of [layout.bundles, layout.writableLayers]) {
    mkdirSync(folder, { recursive: true, mode: privateMode });
    chmodSync(folder, privateMode);
  }
  const host = detectHost({ cgroupDriver: config.cgroups.driver, seccompProfile: config.security.seccompProfile });
  const systemdCgroup = host.cgroup.driver === 'systemd';
  const store = new Store(join(config.root, 'berth.db'));
  const journal = new EventJournal(store, config.limits.eventsKept);
  const records = new ContainerRecords(store);
  const sandboxRecords = new SandboxRecords(store);
  const inUse = () => new Set(records.list().map(({ imageId }) => imageId));
  const [images, network, runtimes] = await Promise.all([
    Images.open({ folder: join(config.root, 'images'), store, addon, log, config: config.images, inUse }),
    PodNetwork.open({ config: config.network, cacheFolder: join(config.root, 'cni'), native, log, environment }),
    resolveRuntimes(config, native, log, {
      shimBinary,
      searchPath: environment['PATH'] ?? '',
      environment,
      systemdCgroup,
    }),
  ]);

  const events = new PodEvents();
  const shims = new PodShims(log);
  const taskEvents = new TaskEvents({
    store,
    containers: records,
    sandboxes: sandboxRecords,
    journal,
    events,
    outputWritten: async (sandbox, container) => await shims.find(sandbox)?.outputWritten(container),
    log,
  });
  const eventsAddress = `${config.socket}.ttrpc`;
  const eventsServer = await ShimEventsServer.listen(eventsAddress, native, log, (event) => taskEvents.take(event));
  const starter = new Shims({
    stateFolder: config.state,
    managerAddress: config.socket,
    eventsAddress,
    namespace: criNamespace,
    native,
    log,
    runtimes,
    shimBinary,
    systemdCgroup,
    environment,
    poolSize: config.shimPoolSize,
  });

  const locks = new KeyedLock();
  const names = new Names('pod or container');
  const rootfs = new ContainerRootfs(layout, native);
  const files = new SandboxFiles(layout, native);
  const stop = new ContainerStop(records, shims, locks, log);
  const specFile = new SpecFile(layout);
  const task = new ContainerTask({
    records,
    sandboxes: sandboxRecords,
    images,
    shims,
    rootfs,
    taskEvents,
    layout,
    log,
  });
  const creation = new ContainerCreation({
    records,
    sandboxes: sandboxRecords,
    images,
    accounts: new ImageAccounts(native),
    rootfs,
    specFile,
    names,
    layout,
    host,
    log,
  });
  const containers = new Containers({
    records,
    sandboxes: sandboxRecords,
    images,
    creation,
    task,
    stop,
    resources: new ContainerResources(records, shims, specFile, host),
    rootfs,
    specFile,
    shims,
    taskEvents,
    events,
    locks,
    names,
    cgroupMoves: new CgroupMoves(),
    log,
  });
  const sandboxes = new Sandboxes({
    records: sandboxRecords,
    containerRecords: records,
    containers,
    starter,
    shims,
    network,
    files,
    taskEvents,
    events,
    locks,
    names,
    layout,
    host,
    runtimeOf: (handler) => runtimeNamed(handler, runtimes).name,
    forgetEvents: (id) => journal.forget(id),
    log,
  });
  const inBackground = (what: string, id: string, work: Promise<void>) => {
    work.catch((err: unknown) => log.error({ id, err }, `cannot ${what}`));
  };
  const releaseTask = (id: string) => {
    // An end that is told before its shim was met again is followed up by the recovery.
    if (shims.find(records.get(id)?.sandboxId ?? '') === undefined) return;
    inBackground('delete a task that has ended', id, containers.releaseTask(id));
  };
  taskEvents.onEnded(releaseTask, (id) => sandboxes.ended(id));
  const orphans = await Orphans.find({
    layout,
    sandboxes: sandboxRecords,
    containers: records,
    rootfs,
    files,
    starter,
    network,
    log,
  });
  const recovery = new Recovery({
    sandboxes,
    sandboxRecords,
    containers,
    containerRecords: records,
    task,
    stop,
    locks,
    shims,
    starter,
    log,
  });
  shims.onLost(
    (id) => inBackground('clean up after a lost shim', id, recovery.lost(id)),
    (id) => sandboxes.ended(id),
  );
  await recovery.begin();

  const calls = new Calls({ log, endless: endlessMethods });
  const server = new GrpcServer({ observe: calls.observe, authorize: (socket) => isAuthorized(socket, native) });
  const disk = new DiskUsages();
  const status = new RuntimeStatus({
    version: options.version,
    network,
    host,
    layout,
    handlers: [...runtimes.handlers.keys()],
    defaultHandler: runtimes.default,
    defaultReason: runtimes.reason,
    config,
  });
  const runtimeService = new RuntimeService({
    sandboxes,
    sandboxRecords,
    containers,
    containerRecords: records,
    images,
    network,
    events,
    stats: new Stats(layout, disk),
    status,
    execSyncOutputBytes: config.limits.execSyncOutputBytes,
  });
  server.register(cri.RuntimeService, runtimeService.handlers());
  server.register(cri.ImageService, new ImageService(images, records, layout, disk).handlers());
  server.register(berth.Images, berthImagesService(images));
  const runtimeType = (name: string) =>
    runtimes.handlers.get(name)?.ours === false ? 'io.containerd.runc.v2' : 'io.containerd.berth.v2';
  const directories = { records, sandboxes: sandboxRecords, containers, shims, layout, runtimeType };
  registerServices(server, {
    facts: {
      version: options.version,
      startedAt: options.startedAt,
      root: config.root,
      state: config.state,
      config: options.configText,
      uuid: installationId(config.root),
    },
    daemon: {
      counts: () => ({ sandboxes: sandboxRecords.size, containers: records.size, images: images.list().length }),
      defaultRuntime: () => ({ name: runtimes.default, reason: runtimes.reason }),
      logLevel: () => options.logLevel(),
      setLogLevel: (level) => options.setLogLevel(level),
    },
    containers: containerDirectory(directories),
    tasks: taskDirectory(directories),
    journal,
  });
  const socket = await placeSocket(config.socket, (path) => server.listen(path));
  const finishing = recovery
    .finish()
    .then(() => orphans.remove())
    .catch((err: unknown) => log.error({ err }, 'recovery failed; the next start tries again'));

  return {
    stop: async (deadlineMs) => {
      socket.remove();
      recovery.close();
      const deadline = Date.now() + deadlineMs;
      const left = await calls.finish(deadlineMs);
      if (left > 0) log.warn({ calls: left }, 'calls were cut off; the next start finishes or undoes them');
      await Promise.race([finishing, new Promise((next) => setTimeout(next, Math.max(0, deadline - Date.now())))]);
      shims.close();
      await starter.close();
      await eventsServer.close();
      network.close();
      await images.close();
      journal.close();
      server.close();
      store[Symbol.dispose]();
    },
  };
}
