import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import {
  type ContainerRecord,
  type ContainerRecords,
  type Containers,
  isAlive,
  type Layout,
  type PodShims,
  type SandboxRecords,
} from '../pods/index.ts';
import type { ContainerDirectory, ContainerView, TaskDirectory, TaskView } from './views.ts';

const longWaitMs = 2 ** 31 - 1;

export interface DirectoriesOptions {
  readonly records: ContainerRecords;
  readonly sandboxes: SandboxRecords;
  readonly containers: Containers;
  readonly shims: PodShims;
  readonly layout: Layout;
  /** What containerd's clients call the shim of a configured runtime, such as "io.containerd.berth.v2". */
  readonly runtimeType: (runtime: string) => string;
}

/** The containers of CRI, for containerd's clients. */
export function containerDirectory(o: DirectoriesOptions): ContainerDirectory {
  const view = (record: ContainerRecord): ContainerView => ({
    id: record.id,
    sandboxId: record.sandboxId,
    image: imageName(record),
    runtime: o.runtimeType(o.sandboxes.get(record.sandboxId)?.runtime ?? ''),
    labels: { ...record.config.labels, 'io.cri-containerd.kind': 'container' },
    createdAt: record.createdAt,
    updatedAt: record.finishedAt > 0n ? record.finishedAt : record.startedAt > 0n ? record.startedAt : record.createdAt,
  });
  const isThere = (record: ContainerRecord) => record.state !== 'creating';
  return {
    list: () => o.records.list().filter(isThere).map(view),
    find: (id) => {
      const record = o.records.get(id);
      return record !== undefined && isThere(record) ? view(record) : undefined;
    },
    spec: async (id) => {
      const text = await readFile(join(o.layout.bundle(id), 'config.json'), 'utf8').catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as unknown);
    },
  };
}

/** What runs in them. */
export function taskDirectory(o: DirectoriesOptions): TaskDirectory {
  const { records, containers, shims } = o;
  const get = (id: string): ContainerRecord => {
    const record = records.get(id);
    if (record !== undefined && hasTask(record)) return record;
    throw new RpcError(Code.NotFound, `container ${id} has no task: it was not started, or is not there`);
  };
  const shimOf = async (id: string) => await shims.get(get(id).sandboxId);
  const alive = async (id: string) => {
    const record = get(id);
    if (isAlive(record)) return await shims.get(record.sandboxId);
    throw new RpcError(Code.NotFound, `the task of container ${id} has ended`);
  };
  return {
    list: () => records.list().filter(hasTask).map(taskView),
    find: (id) => {
      const record = records.get(id);
      return record !== undefined && hasTask(record) ? taskView(record) : undefined;
    },
    start: async (id) => {
      await containers.start(id);
      return get(id).pid;
    },
    kill: async (id, signal, all) => await (await alive(id)).kill(id, signal, { all }),
    wait: async (id, signal) => {
      get(id);
      while (!(await records.ended(id, longWaitMs, signal))) signal.throwIfAborted();
      const record = get(id);
      return { exitStatus: record.exitCode, exitedAt: record.finishedAt };
    },
    pids: async (id) => await (await alive(id)).pids(id),
    pause: async (id) => await (await alive(id)).pause(id),
    resume: async (id) => await (await alive(id)).resume(id),
    update: async (id, resources) => await (await alive(id)).update(id, resources),
    metrics: async (id) => await (await shimOf(id)).stats(id),
    delete: async (id) => {
      if (isAlive(get(id))) {
        throw new RpcError(Code.FailedPrecondition, `container ${id} runs: stop it first`);
      }
      await containers.releaseTask(id);
    },
  };
}

/** As people asked for it, where kubelet has passed that on, else as kubelet did. */
function imageName({ config }: ContainerRecord): string {
  const { image = '', userSpecifiedImage = '' } = config.image ?? {};
  return userSpecifiedImage === '' ? image : userSpecifiedImage;
}

function hasTask({ state, startedAt }: ContainerRecord): boolean {
  return state === 'starting' || state === 'running' || (state === 'exited' && startedAt > 0n);
}

function taskView(record: ContainerRecord): TaskView {
  const { id, pid, state, config, exitCode, finishedAt } = record;
  const status = state === 'starting' ? 'created' : state === 'running' ? 'running' : 'stopped';
  return { containerId: id, pid, status, terminal: config.tty, exitStatus: exitCode, exitedAt: finishedAt };
}
