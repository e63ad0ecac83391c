import type { ProcessSpec } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import {
  packAny,
  runc,
  toTimestamp,
  unpackAny,
  type Init,
  type processes,
  type protobuf,
  type task,
} from '../wire/index.ts';
import type { Container } from './container.ts';
import type { Containers } from './containers.ts';
import type { ShimContext } from './context.ts';
import { doing, waiting } from './handlers.ts';
import { checkId } from './ids.ts';
import { cgroupMetricsAny } from './metrics.ts';
import type { Process } from './process.ts';
import type { ExitRecord } from './record.ts';
import { version } from './version.ts';

const statusNumbers = { created: 1, running: 2, stopped: 3, deleted: 3, paused: 4, pausing: 5 } as const;
const maxSignal = 64;

/** containerd.task.v3.Task, and v2, whose messages are the same. */
export class TaskService {
  readonly #containers: Containers;
  readonly #context: ShimContext;
  readonly #shutdown: () => void;

  constructor(containers: Containers, context: ShimContext, shutdown: () => void) {
    this.#containers = containers;
    this.#context = context;
    this.#shutdown = shutdown;
  }

  /** By method name, for the ttRPC server. */
  handlers() {
    const wrap = doing(this.#context.activity);
    return {
      State: wrap((request: task.StateRequest) => this.#state(request)),
      Create: wrap(async (request: task.CreateTaskRequest) => {
        const container = await this.#containers.create(request);
        return { pid: container.init.record.pid };
      }),
      Start: wrap(async (request: task.StartRequest) => {
        const container = await this.#containers.whenCreated(request.id);
        const { execId } = request;
        return { pid: execId === '' ? await container.start() : await container.execs.start(execId) };
      }),
      Delete: wrap((request: task.DeleteRequest) => this.#delete(request)),
      Pids: wrap((request: task.PidsRequest) => ({ processes: processInfos(this.#containers.get(request.id)) })),
      Pause: wrap(async (request: task.PauseRequest) => {
        await this.#containers.get(request.id).pause();
        return {};
      }),
      Resume: wrap(async (request: task.ResumeRequest) => {
        await this.#containers.get(request.id).resumeExecution();
        return {};
      }),
      Checkpoint: wrap((request: task.CheckpointTaskRequest) => this.#checkpoint(request)),
      Kill: wrap(async (request: task.KillRequest) => {
        if (request.signal < 1 || request.signal > maxSignal)
          throw new TtrpcError(Code.InvalidArgument, `${request.signal} is no signal: use 1 to ${maxSignal}`);
        const container = await this.#containers.whenCreated(request.id);
        await container.kill(request.execId, request.signal, request.all);
        return {};
      }),
      Exec: wrap((request: task.ExecProcessRequest) => this.#exec(request)),
      ResizePty: wrap((request: task.ResizePtyRequest) => {
        this.#containers
          .get(request.id)
          .process(request.execId)
          .resize(clampSize(request.width), clampSize(request.height));
        return {};
      }),
      CloseIO: wrap((request: task.CloseIORequest) => {
        const process = this.#containers.get(request.id).process(request.execId);
        if (request.stdin) process.closeStdin();
        return {};
      }),
      Update: wrap(async (request: task.UpdateTaskRequest) => {
        const container = this.#containers.get(request.id);
        await container.update(resourcesJson(request.resources));
        return {};
      }),
      Wait: waiting(async (request: task.WaitRequest, { signal }) => {
        const exit = await (await this.#containers.whenCreated(request.id)).process(request.execId).wait(signal);
        return { exitStatus: exit.status, exitedAt: timestampOf(exit) };
      }),
      Stats: wrap((request: task.StatsRequest) => ({
        stats: cgroupMetricsAny(this.#containers.get(request.id).metrics()),
      })),
      Connect: wrap(async (request: task.ConnectRequest) => ({
        shimPid: process.pid,
        taskPid: await this.#pidOf(request.id),
        version,
      })),
      Shutdown: wrap(() => {
        // A shim that still has something to look after stays, whoever asks.
        if (this.#containers.size === 0 && this.#context.record.sandbox?.state !== 'ready') this.#shutdown();
        return {};
      }),
    };
  }

  /**
   * Of a container or of the sandbox. A manager that has died between starting a shim and creating the container learns here, when
   * it is back, that there is nothing to take over.
   * @throws TtrpcError NOT_FOUND
   */
  async #pidOf(id: string): Promise<number> {
    const { sandbox } = this.#context.record;
    if (sandbox?.id === id) return sandbox.pid;
    return (await this.#containers.whenCreated(id)).init.record.pid;
  }

  async #state(request: task.StateRequest): Promise<Init<task.StateResponse>> {
    const container = await this.#containers.whenCreated(request.id);
    const process = container.process(request.execId);
    const { execId, pid, stdio, exit } = process.record;
    const ended = process.state === 'stopped' ? exit : null;
    return {
      id: execId === '' ? container.id : execId,
      bundle: container.record.bundle,
      pid,
      status: statusNumbers[container.stateOf(process)],
      ...stdio,
      exitStatus: ended?.status ?? 0,
      ...(ended === null ? {} : { exitedAt: timestampOf(ended) }),
      execId,
    };
  }

  async #delete(request: task.DeleteRequest): Promise<Init<task.DeleteResponse>> {
    const container = await this.#containers.whenCreated(request.id);
    let process: Process = container.init;
    if (request.execId === '') await this.#containers.delete(container);
    else process = await container.execs.delete(request.execId);
    const { pid, exit } = process.record;
    return { pid, exitStatus: exit?.status ?? 0, ...(exit === null ? {} : { exitedAt: timestampOf(exit) }) };
  }

  #exec(request: task.ExecProcessRequest): Record<string, never> {
    const container = this.#containers.get(request.id);
    checkId(request.execId, 'exec id');
    const { stdin, stdout, stderr, terminal } = request;
    container.execs.add(request.execId, { stdin, stdout, stderr, terminal }, processSpec(request.spec));
    return {};
  }

  async #checkpoint(request: task.CheckpointTaskRequest): Promise<Record<string, never>> {
    const container = this.#containers.get(request.id);
    const given = request.options;
    const options =
      given === undefined || given.typeUrl === ''
        ? runc.CheckpointOptions.decode(new Uint8Array())
        : unpackAny(runc.CheckpointOptions, given);
    const imagePath = request.path === '' ? options.imagePath : request.path;
    if (imagePath === '') throw new TtrpcError(Code.InvalidArgument, 'a checkpoint needs a path to write its image to');
    await container.checkpoint({
      imagePath,
      workPath: options.workPath === '' ? `${container.record.bundle}/work/criu-work` : options.workPath,
      ...(options.parentPath === '' ? {} : { parentPath: options.parentPath }),
      leaveRunning: !options.exit,
      openTcp: options.openTcp,
      externalUnixSockets: options.externalUnixSockets,
      terminal: options.terminal,
      fileLocks: options.fileLocks,
      emptyNamespaces: options.emptyNamespaces,
      cgroupsMode: options.cgroupsMode,
    });
    return {};
  }
}

function processInfos(container: Container): Init<processes.ProcessInfo>[] {
  const execs = new Map([...container.execs].map((exec) => [exec.record.pid, exec.record.execId]));
  return container.pids().map((pid) => {
    const execId = execs.get(pid);
    return execId === undefined ? { pid } : { pid, info: packAny(runc.ProcessDetails, { execId }) };
  });
}

function timestampOf(exit: ExitRecord): protobuf.Timestamp {
  return toTimestamp(BigInt(exit.at));
}

/** A pty's size is two 16-bit numbers. */
function clampSize(value: number): number {
  return Math.min(value, 0xffff);
}

function processSpec(any: protobuf.Any | undefined): ProcessSpec {
  const spec = jsonIn(any, 'the process to exec') as Partial<ProcessSpec> | null;
  if (typeof spec !== 'object' || spec === null || !Array.isArray(spec.args) || spec.args.length === 0) {
    throw new TtrpcError(Code.InvalidArgument, 'the process to exec has no args: name the program to run');
  }
  return { ...spec, cwd: typeof spec.cwd === 'string' && spec.cwd !== '' ? spec.cwd : '/' };
}

function resourcesJson(any: protobuf.Any | undefined): string {
  return JSON.stringify(jsonIn(any, 'the resources of an update'));
}

function jsonIn(any: protobuf.Any | undefined, what: string): unknown {
  if (any === undefined) throw new TtrpcError(Code.InvalidArgument, `${what} is missing`);
  try {
    return JSON.parse(Buffer.from(any.value).toString('utf8'));
  } catch (cause) {
    throw new TtrpcError(Code.InvalidArgument, `${what} (${any.typeUrl}) is no JSON of the OCI runtime specification`, {
      cause,
    });
  }
}
