import type { cri, Init } from '../../wire/index.ts';
import type { Context, Sink } from '../context.ts';
import type { CallLimits, Daemon } from '../daemon.ts';
import { Failure, NotSupportedError } from '../failure.ts';
import { userAndPassword } from './credentials.ts';
import { pullDisplay } from './progress.ts';

export interface PullOrder {
  readonly image: string;
  readonly auth?: Init<cri.AuthConfig> | undefined;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly pod?: Init<cri.PodSandboxConfig> | undefined;
  /** Milliseconds; undefined: for ever. */
  readonly timeoutMs?: number | undefined;
  /** Gives it up. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fetches an image, and shows how far it is. A server without berth.v1 is asked by CRI's PullImage, which tells nothing until it is done;
 * and so is any when there are annotations or a pod's configuration, which only CRI can carry.
 * @returns the image's reference, as the server has it
 */
export async function pullImage(context: Context, daemon: Daemon, order: PullOrder, progress: Sink): Promise<string> {
  if (Object.keys(order.annotations ?? {}).length === 0 && order.pod === undefined) {
    try {
      return await pullWithProgress(daemon, order, progress);
    } catch (error) {
      if (!(error instanceof NotSupportedError)) throw error;
      context.debug('the server has no berth.v1.Images/Pull: trying PullImage');
    }
  }
  const { imageRef } = await daemon.images(
    `cannot pull ${order.image}`,
    'PullImage',
    {
      image: { image: order.image, annotations: order.annotations ?? {} },
      auth: order.auth,
      sandboxConfig: order.pod,
    },
    limitsOf(order),
  );
  return imageRef;
}

function limitsOf({ timeoutMs, signal }: PullOrder): CallLimits {
  return { deadline: timeoutMs ?? 'none', signal };
}

async function pullWithProgress(daemon: Daemon, order: PullOrder, progress: Sink): Promise<string> {
  const display = pullDisplay(progress);
  let reference = '';
  const request = { image: order.image, ...userAndPassword(order.auth) };
  try {
    for await (const { layers, imageRef, imageId } of daemon.pull(request, limitsOf(order))) {
      display.show(layers);
      reference = imageRef || imageId || reference;
    }
  } finally {
    display.end();
  }
  if (reference === '') throw new Failure(`cannot pull ${order.image}: the server ended without an answer`);
  return reference;
}
