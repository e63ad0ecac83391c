import { type CallContext, Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import {
  type Init,
  ociType,
  processes,
  type tasks,
  toTimestamp,
  unpackJson,
  nowNanoseconds,
} from '../../wire/index.ts';
import { parseFilters } from './filter.ts';
import { isAboutCri } from './namespace.ts';
import { criNamespace, type TaskDirectory, type TaskView } from './views.ts';

const statuses = {
  created: processes.Status.CREATED,
  running: processes.Status.RUNNING,
  paused: processes.Status.PAUSED,
  stopped: processes.Status.STOPPED,
} as const satisfies Record<TaskView['status'], processes.Status>;

/** Signals that are no numbers of Linux are refused. */
const maxSignal = 64;

/**
 * containerd.services.tasks.v1 for what CRI has made. Making tasks and processes, and their terminals, is CRI's: these methods are
 * UNIMPLEMENTED.
 */
export function tasksService(directory: TaskDirectory): ServiceHandlers<typeof tasks.Tasks> {
  const find = (id: string, context: CallContext): TaskView => {
    const found = isAboutCri(context) ? directory.find(id) : undefined;
    if (found !== undefined) return found;
    throw new RpcError(Code.NotFound, `there is no task of a container "${id}": not found`);
  };
  /** The processes of CRI's execs are not known by name. */
  const first = (id: string, execId: string, context: CallContext): TaskView => {
    const found = find(id, context);
    if (execId === '') return found;
    throw new RpcError(Code.NotFound, `there is no process "${execId}" in container ${id}: not found`);
  };
  return {
    List: (_, context) => ({ tasks: isAboutCri(context) ? directory.list().map(processOf) : [] }),
    Get: ({ containerId, execId }, context) => ({ process: processOf(first(containerId, execId, context)) }),
    Start: async ({ containerId, execId }, context) => {
      first(containerId, execId, context);
      return { pid: await directory.start(containerId) };
    },
    Kill: async ({ containerId, execId, signal, all }, context) => {
      first(containerId, execId, context);
      if (signal > maxSignal)
        throw new RpcError(Code.InvalidArgument, `there is no signal ${signal}: the last one is ${maxSignal}`);
      await directory.kill(containerId, signal, all);
      return {};
    },
    Wait: async ({ containerId, execId }, context) => {
      first(containerId, execId, context);
      const { exitStatus, exitedAt } = await directory.wait(containerId, context.signal);
      return { exitStatus, exitedAt: toTimestamp(exitedAt) };
    },
    Delete: async ({ containerId }, context) => {
      const { pid, status, exitStatus, exitedAt } = find(containerId, context);
      if (status !== 'stopped') {
        throw new RpcError(
          Code.FailedPrecondition,
          `the task of container ${containerId} is ${status}: only one that has ended can be deleted`,
        );
      }
      await directory.delete(containerId);
      return { id: containerId, pid, exitStatus, exitedAt: toTimestamp(exitedAt) };
    },
    ListPids: async ({ containerId }, context) => {
      find(containerId, context);
      return { processes: (await directory.pids(containerId)).map((pid) => ({ pid })) };
    },
    Pause: async ({ containerId }, context) => {
      find(containerId, context);
      await directory.pause(containerId);
      return {};
    },
    Resume: async ({ containerId }, context) => {
      find(containerId, context);
      await directory.resume(containerId);
      return {};
    },
    Update: async ({ containerId, resources }, context) => {
      find(containerId, context);
      const given = resources === undefined ? undefined : unpackResources(resources);
      if (given !== undefined) await directory.update(containerId, given);
      return {};
    },
    Metrics: async ({ filters }, context) => {
      const fits = parseFilters(filters);
      const isWanted = ({ containerId }: TaskView) =>
        fits(([name]) => (name === 'id' ? containerId : name === 'namespace' ? criNamespace : undefined));
      const wanted = isAboutCri(context) ? directory.list().filter(isWanted) : [];
      return {
        metrics: (await Promise.all(wanted.map((one) => metric(directory, one)))).filter((one) => one !== undefined),
      };
    },
  };
}

function processOf(task: TaskView): Init<processes.Process> {
  return {
    containerId: task.containerId,
    id: task.containerId,
    pid: task.pid,
    status: statuses[task.status],
    terminal: task.terminal,
    exitStatus: task.exitStatus,
    // containerd's clients take an absent moment for 1970, as theirs is "zero" by another name.
    ...(task.exitedAt > 0n && { exitedAt: toTimestamp(task.exitedAt) }),
  };
}

function unpackResources(resources: { typeUrl: string; value: Uint8Array }): object {
  let document: unknown;
  try {
    document = unpackJson(ociType.resources, resources);
  } catch (error) {
    throw new RpcError(Code.InvalidArgument, `Update: the resources: ${(error as Error).message}`, { cause: error });
  }
  if (typeof document === 'object' && document !== null && !Array.isArray(document)) return document;
  throw new RpcError(Code.InvalidArgument, 'Update: the resources are no JSON object');
}

/** One that has none, or has gone meanwhile, is left out, as containerd does. */
async function metric(directory: TaskDirectory, { containerId }: TaskView) {
  const timestamp = toTimestamp(nowNanoseconds());
  const data = await directory.metrics(containerId).catch(() => undefined);
  return data === undefined ? undefined : { id: containerId, timestamp, data };
}
