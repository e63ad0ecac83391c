import type { cri, Init } from '../wire/index.ts';
import type { Context } from './context.ts';
import type { Daemon } from './daemon.ts';
import { UsageError } from './failure.ts';
import type { OptionSpecs, OptionValues } from './options.ts';
import { credentialOptions, credentials } from './pull/credentials.ts';
import { pullImage } from './pull/pull.ts';

/** The options of `create` and of `run` with files. */
export const createOptions = {
  'no-pull': { type: 'flag', help: 'do not pull the image' },
  'with-pull': { type: 'flag', help: 'pull the image first' },
  'cancel-timeout': { type: 'duration', short: 'T', help: 'give up after so long' },
  ...credentialOptions,
} as const satisfies OptionSpecs;

export interface NewContainer {
  readonly podSandboxId: string;
  readonly config: Init<cri.ContainerConfig>;
  readonly sandboxConfig: Init<cri.PodSandboxConfig>;
}

/** Pulls what is needed, and makes the container. @returns its id */
export async function createContainer(
  context: Context,
  daemon: Daemon,
  { podSandboxId, config, sandboxConfig }: NewContainer,
  options: OptionValues<typeof createOptions>,
  pullByDefault: boolean,
): Promise<string> {
  if (options['no-pull'] && options['with-pull']) throw new UsageError('--no-pull and --with-pull do not go together');
  if (options['with-pull'] || (pullByDefault && !options['no-pull'])) {
    const auth = credentials(options, context.environment);
    const images = [config.image?.image ?? '', ...(config.mounts ?? []).map(({ image }) => image?.image ?? '')];
    for (const image of new Set(images.filter((name) => name !== ''))) {
      await pullImage(
        context,
        daemon,
        { image, auth, pod: sandboxConfig, timeoutMs: options['pull-timeout'] },
        context.stderr,
      );
    }
  }
  const { containerId } = await daemon.runtime(
    `cannot create the container ${config.metadata?.name ?? ''}`,
    'CreateContainer',
    { podSandboxId, config, sandboxConfig },
    { deadline: options['cancel-timeout'] ?? 'slow' },
  );
  return containerId;
}
