import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CallOptions, GrpcClient } from '../../src/grpc/index.ts';
import { cri, type Init, type MethodNames, type RequestOf, type ResponseOf } from '../../src/wire/index.ts';
import type { Scratch } from './scratch.ts';
import { until } from './until.ts';

const callMilliseconds = 60_000;
const exitMilliseconds = 20_000;

type Runtime = typeof cri.RuntimeService;
type RuntimeMethod = MethodNames<Runtime, 'unary'>;
type Image = typeof cri.ImageService;
type ImageMethod = MethodNames<Image, 'unary'>;

export type PodOptions = Init<cri.PodSandboxConfig> & { readonly runtimeHandler?: string };
export type ContainerOptions = Init<cri.ContainerConfig>;

/** A line of a container's log. */
export interface LogLine {
  /** RFC 3339, with nanoseconds. */
  time: string;
  stream: string;
  /** Without the line's end. */
  text: string;
  /** Whether the line's end follows it, or another piece of the same line. */
  isWhole: boolean;
}

export interface CriCallerOptions {
  scratch: Scratch;
  /** Asked each time: there is a new one when the daemon has been started again. */
  client: () => GrpcClient;
  /** What containers are made of when nothing else is said. */
  image: string;
}

/**
 * A client of CRI for what tests do all the time, with configurations that say no more than they need to. All pods have the
 * cgroup /MARK and their logs in the test's folder.
 *
 * @example
 * const pod = await caller.runPod('web');
 * const id = await caller.runContainer(pod, 'hello', ['echo', 'hello']);
 * await caller.exited(id);
 * assert.equal(await caller.output(id), 'hello\n');
 */
export class CriCaller {
  readonly #options: CriCallerOptions;
  readonly #pods = new Map<string, Init<cri.PodSandboxConfig>>();
  /** Ids of all sandboxes and containers that it has made. */
  readonly made = new Set<string>();

  constructor(options: CriCallerOptions) {
    this.#options = options;
  }

  /** Any call of the runtime service; its deadline is a minute unless another is given. @throws {RpcError} */
  runtime<Name extends RuntimeMethod>(
    name: Name,
    request: Init<RequestOf<Runtime['methods'][Name]>>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Runtime['methods'][Name]>> {
    return this.#options.client().call(cri.RuntimeService, name, request, { timeoutMs: callMilliseconds, ...options });
  }

  /** Any call of the image service; its deadline is a minute unless another is given. @throws {RpcError} */
  images<Name extends ImageMethod>(
    name: Name,
    request: Init<RequestOf<Image['methods'][Name]>>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Image['methods'][Name]>> {
    return this.#options.client().call(cri.ImageService, name, request, { timeoutMs: callMilliseconds, ...options });
  }

  /** A pod's configuration as `runPod` makes it. */
  podConfig(name: string, options: Init<cri.PodSandboxConfig> = {}): Init<cri.PodSandboxConfig> {
    const { mark, folder } = this.#options.scratch;
    return {
      metadata: { name, uid: `uid-of-${name}`, namespace: 'default', attempt: 0 },
      logDirectory: join(folder, 'logs', name),
      ...options,
      linux: { cgroupParent: `/${mark}`, ...options.linux },
    };
  }

  /** Runs a pod; gives its id. */
  async runPod(name: string, { runtimeHandler = '', ...options }: PodOptions = {}): Promise<string> {
    const config = this.podConfig(name, options);
    const { podSandboxId } = await this.runtime('RunPodSandbox', { config, runtimeHandler });
    this.#pods.set(podSandboxId, config);
    this.made.add(podSandboxId);
    return podSandboxId;
  }

  /** The request that `createContainer` makes. */
  containerRequest(
    podSandboxId: string,
    name: string,
    command: readonly string[],
    options: ContainerOptions = {},
  ): Init<cri.CreateContainerRequest> {
    const config: ContainerOptions = {
      metadata: { name, attempt: 0 },
      image: { image: this.#options.image },
      command,
      logPath: `${name}.log`,
      ...options,
    };
    return { podSandboxId, config, sandboxConfig: this.#pods.get(podSandboxId) };
  }

  /** Creates a container of a pod that this caller has run; gives its id. */
  async createContainer(
    podId: string,
    name: string,
    command: readonly string[],
    options?: ContainerOptions,
  ): Promise<string> {
    const request = this.containerRequest(podId, name, command, options);
    const { containerId } = await this.runtime('CreateContainer', request);
    this.made.add(containerId);
    return containerId;
  }

  async startContainer(containerId: string): Promise<void> {
    await this.runtime('StartContainer', { containerId });
  }

  /** Creates a container and starts it; gives its id. */
  async runContainer(
    podId: string,
    name: string,
    command: readonly string[],
    options?: ContainerOptions,
  ): Promise<string> {
    const id = await this.createContainer(podId, name, command, options);
    await this.startContainer(id);
    return id;
  }

  /** @param seconds before it is killed; default 0: at once */
  async stopContainer(containerId: string, seconds = 0): Promise<void> {
    await this.runtime('StopContainer', { containerId, timeout: BigInt(seconds) });
  }

  async removeContainer(containerId: string): Promise<void> {
    await this.runtime('RemoveContainer', { containerId });
  }

  async stopPod(podSandboxId: string): Promise<void> {
    await this.runtime('StopPodSandbox', { podSandboxId });
  }

  /** Stops it first. */
  async removePod(podSandboxId: string): Promise<void> {
    await this.stopPod(podSandboxId);
    await this.runtime('RemovePodSandbox', { podSandboxId });
  }

  /** Removes every pod of the daemon, whoever has made it. */
  async removeAllPods(): Promise<void> {
    const { items } = await this.runtime('ListPodSandbox', {});
    await Promise.all(items.map(({ id }) => this.removePod(id)));
  }

  async pod(podSandboxId: string): Promise<cri.PodSandboxStatus> {
    const { status } = await this.runtime('PodSandboxStatus', { podSandboxId });
    if (status === undefined) throw new Error(`PodSandboxStatus of ${podSandboxId} has no status`);
    return status;
  }

  async container(containerId: string): Promise<cri.ContainerStatus> {
    const { status } = await this.runtime('ContainerStatus', { containerId });
    if (status === undefined) throw new Error(`ContainerStatus of ${containerId} has no status`);
    return status;
  }

  /** Waits until it has ended; gives its status then. */
  async exited(containerId: string, withinMilliseconds = exitMilliseconds): Promise<cri.ContainerStatus> {
    const probe = async () => {
      const status = await this.container(containerId);
      return status.state === cri.ContainerState.CONTAINER_EXITED && status;
    };
    return await until(`the end of container ${containerId}`, probe, withinMilliseconds);
  }

  /** @param seconds its time limit; default 30 */
  async exec(
    containerId: string,
    cmd: readonly string[],
    seconds = 30,
  ): Promise<{ stdout: string; stderr: string; exitCode: number }> {
    const request = { containerId, cmd, timeout: BigInt(seconds) };
    const { stdout, stderr, exitCode } = await this.runtime('ExecSync', request);
    return { stdout: Buffer.from(stdout).toString(), stderr: Buffer.from(stderr).toString(), exitCode };
  }

  /** What is in a container's log so far. */
  async log(containerId: string): Promise<LogLine[]> {
    const { logPath } = await this.container(containerId);
    return readLog(logPath);
  }

  /** What a container has written to its log so far, as the program wrote it: of both streams, or of one. */
  async output(containerId: string, stream?: 'stdout' | 'stderr'): Promise<string> {
    const lines = (await this.log(containerId)).filter((line) => stream === undefined || line.stream === stream);
    return lines.map(({ text, isWhole }) => (isWhole ? `${text}\n` : text)).join('');
  }
}

/** Reads a log file of the CRI format. */
export function readLog(path: string): LogLine[] {
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => {
    const [time = '', stream = '', tag = ''] = line.split(' ', 3);
    return { time, stream, text: line.slice(time.length + stream.length + tag.length + 3), isWhole: tag === 'F' };
  });
}
