import { existsSync } from 'node:fs';
import { readContainerConfig, readPodConfig } from '../config/files.ts';
import type { Context } from '../context.ts';
import { createContainer, createOptions } from '../create-container.ts';
import type { Daemon } from '../daemon.ts';
import { ExitCode } from '../exit-codes.ts';
import { Failure, NotSupportedError, UsageError } from '../failure.ts';
import { makeLogFolder, removeLogFolder } from '../image-run/log-folder.ts';
import { orderOf, runOptions } from '../image-run/order.ts';
import { RunningImage } from '../image-run/run-image.ts';
import { StopSignals } from '../image-run/stop-signals.ts';
import type { OptionValues } from '../options.ts';
import { credentials } from '../pull/credentials.ts';
import { pullImage } from '../pull/pull.ts';
import { defineVerb } from '../verb.ts';

const defaultGraceMs = 10_000;

const options = {
  runtime: {
    type: 'text',
    short: 'r',
    value: 'NAME',
    help: "a runtime of berthd's configuration (default: its default)",
  },
  ...runOptions,
  ...createOptions,
} as const;

type Options = OptionValues<typeof options>;

export const verb = defineVerb({
  operands: 'IMAGE [COMMAND [ARG...]]  |  CONTAINER-CONFIG.json POD-CONFIG.json',
  takes: 'image',
  count: { least: 1, most: Infinity },
  stopAtOperand: true,
  details: `With an image: pulls it if it is not there, runs the command in a new pod, shows what it writes and exits with its exit code.
Ctrl-C stops it, a second one kills it. Without --rm its log and status stay: "berthctl logs", "berthctl inspect", "berthctl rmp".
125: berthctl or berthd failed; 126: the command cannot be executed; 127: there is no such command.

With two files, as crictl has it: a pod and a container of these configurations; prints the container's id and leaves.`,
  examples: [
    'berthctl run --rm busybox echo hello',
    'berthctl run --rm -e LEVEL=debug -v /srv/data:/data:ro --net host app:1.2 serve --port 8080',
    'berthctl run container.json pod.json',
  ],
  options,
  async run({ context, options: values, operands }) {
    if (isFilePair(operands)) return runFiles(context, values, operands);
    if (values.interactive || values.tty) {
      throw new NotSupportedError('-i and -t are not in this version: run cannot stream yet', 'leave them out');
    }
    if (values.detach && values.rm)
      throw new UsageError('--detach and --rm do not go together: nobody would remove it');
    try {
      return await runImage(context, values, operands);
    } catch (error) {
      if (!(error instanceof Failure) || error.exitCode >= ExitCode.RunFailed) throw error;
      if (error instanceof UsageError) throw error;
      throw new Failure(error.message, { exitCode: ExitCode.RunFailed, next: error.next, cause: error });
    }
  },
});

function isFilePair(operands: readonly string[]): boolean {
  return operands.length === 2 && operands.every((path) => /\.(json|ya?ml)$/.test(path) && existsSync(path));
}

async function runFiles(context: Context, values: Options, [containerFile = '', podFile = '']: readonly string[]) {
  const config = await readContainerConfig(context, containerFile);
  const sandboxConfig = await readPodConfig(context, podFile);
  const daemon = await context.daemon();
  const { podSandboxId } = await daemon.runtime(
    `cannot run the pod ${sandboxConfig.metadata?.name ?? ''}`,
    'RunPodSandbox',
    { config: sandboxConfig, runtimeHandler: values.runtime },
    { deadline: 'slow' },
  );
  const container = { podSandboxId, config, sandboxConfig };
  const containerId = await createContainer(context, daemon, container, values, !context.settings.disablePullOnRun);
  await daemon.runtime(
    `cannot start the container ${containerId}`,
    'StartContainer',
    { containerId },
    { deadline: 'slow' },
  );
  context.stdout.write(`${containerId}\n`);
  return undefined;
}

async function runImage(
  context: Context,
  values: Options,
  [image = '', ...command]: readonly string[],
): Promise<number> {
  // Before anything is made, what is wrong with the command line.
  orderOf(values, image, command, context.environment, '');
  const daemon = await context.daemon();
  const stop = new StopSignals(context, daemon, values['stop-timeout'] ?? defaultGraceMs);
  try {
    await fetchImage(context, daemon, values, image, stop.signal);
    const logFolder = await makeLogFolder(!values.rm);
    let keepLog = false;
    try {
      const order = orderOf(values, image, command, context.environment, logFolder);
      const running = await RunningImage.start(context, daemon, order, values.runtime, stop);
      keepLog = !values.rm;
      if (values.detach) {
        context.stdout.write(`${running.containerId}\n`);
        return ExitCode.Success;
      }
      try {
        const { exitCode, reason } = await running.follow(`${logFolder}/0.log`);
        if (reason === 'OOMKilled') context.say('berthctl: the container was killed: it used more memory than it may');
        return exitCode;
      } finally {
        await running.leave(values.rm);
      }
    } finally {
      if (!keepLog) await removeLogFolder(logFolder);
    }
  } catch (error) {
    if (stop.signal.aborted)
      throw new Failure(`run of ${image} was interrupted`, { exitCode: ExitCode.Interrupted, cause: error });
    throw error;
  } finally {
    stop.close();
  }
}

async function fetchImage(
  context: Context,
  daemon: Daemon,
  values: Options,
  image: string,
  signal: AbortSignal,
): Promise<void> {
  const auth = credentials(values, context.environment);
  if (!values['with-pull']) {
    const found = await daemon.images(
      `cannot look up the image ${image}`,
      'ImageStatus',
      { image: { image } },
      { signal },
    );
    if (found.image !== undefined) return;
    if (values['no-pull'])
      throw new Failure(`there is no image ${image}, and --no-pull was given`, { next: 'berthctl images' });
    context.say(`Pulling ${image}`);
  }
  await pullImage(context, daemon, { image, auth, timeoutMs: values['pull-timeout'], signal }, context.stderr);
}
