import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Code, GrpcServer, RpcError, type ServiceHandlers } from '../../../src/grpc/index.ts';
import { berth, cri, type Init } from '../../../src/wire/index.ts';

export const sandboxId = '87d3992f84f74'.padEnd(64, '0');
export const webId = '1f73f2d81bf98'.padEnd(64, '0');
export const oldId = '1f9c04ee2f9d1'.padEnd(64, '0');
export const imageId = `sha256:${'beae173ccac6a'.padEnd(64, '0')}`;

const second = 1_000_000_000n;
/** Nanoseconds since 1970, so many seconds ago. */
export const secondsAgo = (seconds: number): bigint => BigInt(Date.now()) * 1_000_000n - BigInt(seconds) * second;

const labels = { 'io.kubernetes.pod.name': 'web-pod', 'io.kubernetes.pod.namespace': 'default' };

/** What the tests' server has: one pod, two containers, one image. */
export function standardState() {
  return {
    pods: [
      {
        id: sandboxId,
        metadata: { name: 'web-pod', uid: 'u-1', namespace: 'default', attempt: 0 },
        state: cri.PodSandboxState.SANDBOX_READY,
        createdAt: secondsAgo(200),
        runtimeHandler: 'crun',
      },
    ] as Init<cri.PodSandbox>[],
    containers: [
      {
        id: webId,
        podSandboxId: sandboxId,
        metadata: { name: 'web', attempt: 0 },
        image: { image: imageId },
        imageId,
        state: cri.ContainerState.CONTAINER_RUNNING,
        createdAt: secondsAgo(190),
        labels,
      },
      {
        id: oldId,
        podSandboxId: sandboxId,
        metadata: { name: 'old', attempt: 2 },
        image: { image: imageId },
        imageId,
        state: cri.ContainerState.CONTAINER_EXITED,
        createdAt: secondsAgo(7300),
        labels,
      },
    ] as Init<cri.Container>[],
    images: [
      {
        id: imageId,
        repoTags: ['docker.io/library/busybox:latest', 'docker.io/library/busybox:1.36'],
        repoDigests: [`docker.io/library/busybox@sha256:${'a1b2c3'.padEnd(64, '0')}`],
        size: 2_223_686n,
      },
    ] as Init<cri.Image>[],
  };
}

export interface Fake {
  readonly socket: string;
  readonly folder: string;
  /** Names of the calls that came, in order. */
  readonly calls: string[];
  /** Requests by the name of the call, the last one. */
  readonly requests: Record<string, unknown>;
  close(): void;
}

export interface FakeHandlers {
  readonly runtime?: ServiceHandlers<typeof cri.RuntimeService>;
  readonly images?: ServiceHandlers<typeof cri.ImageService>;
  readonly berthEvents?: ServiceHandlers<typeof berth.Events>;
  readonly berthImages?: ServiceHandlers<typeof berth.Images>;
  readonly daemon?: ServiceHandlers<typeof berth.Daemon>;
}

/** A server that speaks CRI on a socket of its own; what is given replaces what it has. */
export async function startFake(handlers: FakeHandlers = {}, state = standardState()): Promise<Fake> {
  const folder = mkdtempSync(join(tmpdir(), 'bc-'));
  const socket = join(folder, 's.sock');
  const calls: string[] = [];
  const requests: Record<string, unknown> = {};
  const server = new GrpcServer({
    observe: ({ path }, request) => {
      const name = path.slice(path.lastIndexOf('/') + 1);
      calls.push(name);
      requests[name] = request;
      return () => undefined;
    },
  });
  const containerOf = (id: string) => {
    const container = state.containers.find((one) => one.id === id);
    if (container === undefined) throw new RpcError(Code.NotFound, `no container "${id}"`);
    return container;
  };
  server.register(cri.RuntimeService, {
    Version: () => ({ version: '0.1.0', runtimeName: 'berthd', runtimeVersion: '0.1.0', runtimeApiVersion: 'v1' }),
    ListPodSandbox: ({ filter }) => ({
      items: state.pods.filter(({ state: one }) => filter?.state === undefined || one === filter.state.state),
    }),
    ListContainers: ({ filter }) => ({
      containers: state.containers.filter(
        ({ state: one, podSandboxId }) =>
          (filter?.state === undefined || one === filter.state.state) &&
          (!filter?.podSandboxId || podSandboxId === filter.podSandboxId),
      ),
    }),
    ContainerStatus: ({ containerId, verbose }) => {
      const { id, metadata, createdAt, labels: own, state: now } = containerOf(containerId);
      return {
        status: { id, metadata, createdAt, labels: own, state: now, exitCode: 3, startedAt: createdAt },
        info: verbose ? { pid: '4711', runtimeSpec: '{"ociVersion":"1.0.2"}' } : {},
      };
    },
    StopContainer: ({ containerId }) => {
      (containerOf(containerId) as { state: number }).state = cri.ContainerState.CONTAINER_EXITED;
      return {};
    },
    RemoveContainer: ({ containerId }) => {
      state.containers.splice(state.containers.indexOf(containerOf(containerId)), 1);
      return {};
    },
    PodSandboxStatus: ({ podSandboxId }) => {
      const pod = state.pods.find(({ id }) => id === podSandboxId);
      if (pod === undefined) throw new RpcError(Code.NotFound, `no pod "${podSandboxId}"`);
      const { id, metadata, createdAt, state: now } = pod;
      return { status: { id, metadata, createdAt, state: now, network: { ip: '10.88.0.7' } } };
    },
    ...handlers.runtime,
  });
  server.register(cri.ImageService, {
    ListImages: () => ({ images: state.images }),
    ImageStatus: ({ image }) => {
      const wanted = image?.image ?? '';
      return {
        image: state.images.find(({ id, repoTags }) => id === wanted || repoTags?.some((tag) => tag.includes(wanted))),
      };
    },
    RemoveImage: () => {
      state.images.length = 0;
      return {};
    },
    ...handlers.images,
  });
  if (handlers.berthEvents) server.register(berth.Events, handlers.berthEvents);
  if (handlers.berthImages) server.register(berth.Images, handlers.berthImages);
  if (handlers.daemon) server.register(berth.Daemon, handlers.daemon);
  await server.listen(socket);
  return {
    socket,
    folder,
    calls,
    requests,
    close: () => {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
