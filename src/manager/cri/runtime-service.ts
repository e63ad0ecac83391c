import { Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';
import { type Init } from '../../wire/index.ts';
import type { Images } from '../images/index.ts';
import type { PodNetwork } from '../network/index.ts';
import type {
  ContainerRecord,
  ContainerRecords,
  Containers,
  PodEvents,
  Sandboxes,
  SandboxRecord,
  SandboxRecords,
} from '../pods/index.ts';
import { containerStatus } from './container-status.ts';
import { containerEvents } from './container-events.ts';
import { matchesContainer, matchesSandbox, matchesSandboxStats, matchesStats } from './filters.ts';
import { batches } from './image-service.ts';
import { containerLine, sandboxLine } from './lines.ts';
import type { RuntimeStatus } from './runtime-status.ts';
import { sandboxStatus } from './sandbox-status.ts';
import type { Stats } from './stats.ts';
import { containerInfo, sandboxInfo } from './verbose-info.ts';

/** What ExecSync can answer: kubelet takes messages of 16 MiB. */
const mostOutputBytes = 16 * 1024 * 1024 - 64 * 1024;

export interface RuntimeServiceOptions {
  readonly sandboxes: Sandboxes;
  readonly sandboxRecords: SandboxRecords;
  readonly containers: Containers;
  readonly containerRecords: ContainerRecords;
  readonly images: Images;
  readonly network: PodNetwork;
  readonly events: PodEvents;
  readonly stats: Stats;
  readonly status: RuntimeStatus;
  readonly execSyncOutputBytes: number;
}

/** runtime.v1.RuntimeService. What is not in `handlers` is answered with UNIMPLEMENTED. */
export class RuntimeService {
  readonly #o: RuntimeServiceOptions;

  constructor(options: RuntimeServiceOptions) {
    this.#o = options;
  }

  handlers(): ServiceHandlers<typeof cri.RuntimeService> {
    const { status } = this.#o;
    return {
      Version: () => status.version(),
      Status: ({ verbose }) => status.status(verbose),
      RuntimeConfig: () => status.config(),
      UpdateRuntimeConfig: async ({ runtimeConfig }) => {
        const cidr = runtimeConfig?.networkConfig?.podCidr ?? '';
        if (cidr !== '') await this.#o.network.setPodCidr(cidr);
        return {};
      },
      GetContainerEvents: (_request, { signal }) =>
        containerEvents(this.#o.events, signal, (sandboxId) => this.#eventDetails(sandboxId)),
      ...this.#sandboxHandlers(),
      ...this.#containerHandlers(),
      ...this.#statsHandlers(),
    };
  }

  #sandboxHandlers(): ServiceHandlers<typeof cri.RuntimeService> {
    const { sandboxes } = this.#o;
    return {
      RunPodSandbox: async ({ config, runtimeHandler }) => {
        if (config === undefined) throw new RpcError(Code.InvalidArgument, 'RunPodSandbox: config is missing');
        return { podSandboxId: await sandboxes.run(config, runtimeHandler) };
      },
      StopPodSandbox: async ({ podSandboxId }) => {
        await sandboxes.stop(podSandboxId);
        return {};
      },
      RemovePodSandbox: async ({ podSandboxId }) => {
        await sandboxes.remove(podSandboxId);
        return {};
      },
      PodSandboxStatus: ({ podSandboxId, verbose }) => {
        const record = sandboxes.get(podSandboxId);
        return { status: sandboxStatus(record), info: verbose ? sandboxInfo(record) : {} };
      },
      ListPodSandbox: ({ filter }) => ({ items: this.#sandboxes(filter).map(sandboxLine) }),
      StreamPodSandboxes: ({ filter }) =>
        batches(this.#sandboxes(filter).map(sandboxLine), (podSandboxes) => ({ podSandboxes })),
    };
  }

  #containerHandlers(): ServiceHandlers<typeof cri.RuntimeService> {
    const { containers } = this.#o;
    return {
      CreateContainer: async ({ podSandboxId, config, sandboxConfig }) => {
        if (config === undefined) throw new RpcError(Code.InvalidArgument, 'CreateContainer: config is missing');
        const own = sandboxConfig ?? this.#o.sandboxes.get(podSandboxId).config;
        return { containerId: await containers.create(podSandboxId, config, own) };
      },
      StartContainer: async ({ containerId }) => {
        await containers.start(containerId);
        return {};
      },
      StopContainer: async ({ containerId, timeout }) => {
        await containers.stop(containerId, seconds(timeout, 'timeout'));
        return {};
      },
      RemoveContainer: async ({ containerId }) => {
        await containers.remove(containerId);
        return {};
      },
      ListContainers: ({ filter }) => ({ containers: this.#containers(filter).map(containerLine) }),
      StreamContainers: ({ filter }) =>
        batches(this.#containers(filter).map(containerLine), (some) => ({ containers: some })),
      ContainerStatus: ({ containerId, verbose }) => {
        const record = containers.get(containerId);
        return {
          status: containerStatus(record, this.#o.images),
          info: verbose ? containerInfo(record, this.#o.status.layout) : {},
        };
      },
      UpdateContainerResources: async ({ containerId, linux }) => {
        if (linux === undefined) throw new RpcError(Code.InvalidArgument, 'UpdateContainerResources: linux is missing');
        await containers.update(containerId, linux);
        return {};
      },
      ReopenContainerLog: async ({ containerId }) => {
        await containers.reopenLog(containerId);
        return {};
      },
      // Nobody would learn what became of the command of a caller that has gone: it goes too.
      ExecSync: async ({ containerId, cmd, timeout }, { signal }) => {
        const limit = this.#o.execSyncOutputBytes;
        const { stdout, stderr, exitCode } = await containers.exec(
          containerId,
          cmd,
          seconds(timeout, 'timeout'),
          limit,
          signal,
        );
        // Both go into one message, which has a bound of its own.
        const room = mostOutputBytes - Math.min(stdout.length, mostOutputBytes);
        return { stdout: stdout.subarray(0, mostOutputBytes), stderr: stderr.subarray(0, room), exitCode };
      },
    };
  }

  #statsHandlers(): ServiceHandlers<typeof cri.RuntimeService> {
    const { stats } = this.#o;
    const running = (filter: cri.ContainerStatsFilter | undefined) =>
      Promise.all(
        this.#o.containerRecords
          .list()
          .filter((one) => matchesStats(one, filter))
          .map((one) => stats.container(one)),
      );
    const ready = (filter: cri.PodSandboxStatsFilter | undefined) =>
      Promise.all(
        this.#o.sandboxRecords
          .list()
          .filter((one) => matchesSandboxStats(one, filter))
          .map((one) => this.#sandboxStats(one)),
      );
    return {
      ContainerStats: async ({ containerId }) => ({
        stats: await stats.container(this.#o.containers.get(containerId)),
      }),
      ListContainerStats: async ({ filter }) => ({ stats: await running(filter) }),
      async *StreamContainerStats({ filter }) {
        yield* batches(await running(filter), (containerStats) => ({ containerStats }));
      },
      PodSandboxStats: async ({ podSandboxId }) => ({
        stats: await this.#sandboxStats(this.#o.sandboxes.get(podSandboxId)),
      }),
      ListPodSandboxStats: async ({ filter }) => ({ stats: await ready(filter) }),
      async *StreamPodSandboxStats({ filter }) {
        yield* batches(await ready(filter), (podSandboxStats) => ({ podSandboxStats }));
      },
    };
  }

  #sandboxStats(record: SandboxRecord): Promise<Init<cri.PodSandboxStats>> {
    const running = this.#o.containerRecords.ofSandbox(record.id).filter(({ state }) => state === 'running');
    return this.#o.stats.sandbox(record, running);
  }

  #sandboxes(filter: cri.PodSandboxFilter | undefined): SandboxRecord[] {
    return this.#o.sandboxRecords.list().filter((record) => matchesSandbox(record, filter));
  }

  #containers(filter: cri.ContainerFilter | undefined): ContainerRecord[] {
    return this.#o.containerRecords.list().filter((record) => matchesContainer(record, filter));
  }

  /** What goes with an event: the pod and all its containers as they are now. */
  #eventDetails(sandboxId: string): Pick<Init<cri.ContainerEventResponse>, 'podSandboxStatus' | 'containersStatuses'> {
    const record = this.#o.sandboxRecords.get(sandboxId);
    const containers = this.#o.containerRecords.ofSandbox(sandboxId).filter(({ state }) => state !== 'creating');
    return {
      ...(record && { podSandboxStatus: sandboxStatus(record) }),
      containersStatuses: containers.map((one) => containerStatus(one, this.#o.images)),
    };
  }
}

/** A number of seconds that a timer can be set for. */
function seconds(value: bigint, name: string): number {
  if (value < 0n) throw new RpcError(Code.InvalidArgument, `${name} is ${value}: give a number of seconds, 0 or more`);
  const most = 2n ** 31n / 1000n - 1n;
  return Number(value > most ? most : value);
}
