import { cri } from '../../wire/index.ts';
import type { Context } from '../context.ts';
import { type Daemon, isNoAnswer } from '../daemon.ts';
import { ExitCode } from '../exit-codes.ts';
import { Failure, isSystemError, messageOf, NotFoundError } from '../failure.ts';
import { logLines } from '../logs/log-file.ts';
import { LogPrinter } from '../logs/printer.ts';
import { pause } from '../time.ts';
import type { RunOrder } from './order.ts';
import type { StopSignals } from './stop-signals.ts';

const firstPollMs = 30;
const slowestPollMs = 200;
/** Away longer than that, berthd is waited for with a word to the person. */
const patienceMs = 3000;

/** A pod that `run` has made, with the one container in it. */
export class RunningImage {
  readonly containerId: string;
  readonly #podSandboxId: string;
  readonly #context: Context;
  readonly #daemon: Daemon;

  private constructor(context: Context, daemon: Daemon, podSandboxId: string, containerId: string) {
    this.#context = context;
    this.#daemon = daemon;
    this.#podSandboxId = podSandboxId;
    this.containerId = containerId;
  }

  /** Makes pod and container and starts it. What was made is removed again when that fails, or was interrupted. @throws {Failure} */
  static async start(
    context: Context,
    daemon: Daemon,
    { image, pod, container }: RunOrder,
    runtimeHandler: string | undefined,
    stop: StopSignals,
  ): Promise<RunningImage> {
    const { signal } = stop;
    const { podSandboxId } = await daemon.runtime(
      `cannot run ${image}`,
      'RunPodSandbox',
      { config: pod, runtimeHandler },
      { deadline: 'slow' },
    );
    try {
      // A call that is given up may have done its work all the same, so each is let finish and then undone.
      signal.throwIfAborted();
      const { containerId } = await daemon.runtime(
        `cannot run ${image}`,
        'CreateContainer',
        { podSandboxId, config: container, sandboxConfig: pod },
        { deadline: 'slow' },
      );
      signal.throwIfAborted();
      try {
        await daemon.runtime(`cannot run ${image}`, 'StartContainer', { containerId }, { deadline: 'slow' });
      } catch (error) {
        throw startFailure(error);
      }
      stop.guard(containerId);
      return new RunningImage(context, daemon, podSandboxId, containerId);
    } catch (error) {
      await removePod(context, daemon, podSandboxId);
      throw error;
    }
  }

  /** Shows what it writes until it ends. @returns how it ended */
  async follow(logPath: string): Promise<cri.ContainerStatus> {
    let runs = true;
    const log = this.#showLog(logPath, () => Promise.resolve(runs));
    try {
      return await this.#ended();
    } finally {
      runs = false;
      await log;
    }
  }

  /** Takes away what runs, and what is left of it too if that is wanted. */
  async leave(remove: boolean): Promise<void> {
    if (remove) await removePod(this.#context, this.#daemon, this.#podSandboxId);
    else await stopPod(this.#context, this.#daemon, this.#podSandboxId);
  }

  async #showLog(path: string, follow: () => Promise<boolean>): Promise<void> {
    const printer = new LogPrinter(this.#context);
    for (;;) {
      try {
        for await (const lines of logLines(path, { follow })) await printer.print(lines);
        return;
      } catch (error) {
        // It is made with the container's first breath; one that never was is no loss at the end.
        const wait = isSystemError(error, 'ENOENT') && (await follow());
        if (!wait) {
          if (!isSystemError(error, 'ENOENT'))
            this.#context.say(`berthctl: cannot read the log ${path}: ${messageOf(error)}`);
          return;
        }
        await pause(firstPollMs);
      }
    }
  }

  /** Waits for the container's end, over deaths of the daemon too. */
  async #ended(): Promise<cri.ContainerStatus> {
    const { containerId } = this;
    let awaySince: number | undefined;
    let told = false;
    for (let pollMs = firstPollMs; ; pollMs = Math.min(slowestPollMs, pollMs * 1.3)) {
      try {
        const { status } = await this.#daemon.runtime('cannot watch the container', 'ContainerStatus', { containerId });
        if (told) this.#context.say('berthctl: berthd is back');
        awaySince = undefined;
        told = false;
        const { CONTAINER_RUNNING, CONTAINER_CREATED } = cri.ContainerState;
        if (status !== undefined && status.state !== CONTAINER_RUNNING && status.state !== CONTAINER_CREATED)
          return status;
      } catch (error) {
        if (error instanceof NotFoundError) throw new Failure('the container was removed by somebody else');
        if (!isNoAnswer(error)) throw error;
        awaySince ??= this.#context.now();
        if (!told && this.#context.now() - awaySince > patienceMs) {
          told = true;
          this.#context.say('berthctl: berthd is away; the container goes on, and so does this when berthd is back');
        }
      }
      await pause(pollMs);
    }
  }
}

/** Which exit code a shell would have for it. */
function startFailure(error: unknown): unknown {
  if (!(error instanceof Failure)) return error;
  const { message, next } = error;
  if (/permission denied|exec format error|is a directory/i.test(message)) {
    return new Failure(message, { exitCode: ExitCode.CannotExecute, next, cause: error });
  }
  if (/executable file .*not found|no such file or directory/i.test(message)) {
    return new Failure(message, { exitCode: ExitCode.CommandNotFound, next, cause: error });
  }
  return error;
}

async function stopPod(context: Context, daemon: Daemon, podSandboxId: string): Promise<void> {
  try {
    await daemon.runtime('cannot stop the pod', 'StopPodSandbox', { podSandboxId }, { deadline: 'slow' });
  } catch (error) {
    context.say(`berthctl: ${messageOf(error)}\n  berthctl rmp -f ${podSandboxId.slice(0, 13)} removes what is left`);
  }
}

async function removePod(context: Context, daemon: Daemon, podSandboxId: string): Promise<void> {
  try {
    await daemon.runtime('cannot stop the pod', 'StopPodSandbox', { podSandboxId }, { deadline: 'slow' });
    await daemon.runtime('cannot remove the pod', 'RemovePodSandbox', { podSandboxId }, { deadline: 'slow' });
  } catch (error) {
    context.say(`berthctl: ${messageOf(error)}\n  berthctl rmp -f ${podSandboxId.slice(0, 13)} removes what is left`);
  }
}
