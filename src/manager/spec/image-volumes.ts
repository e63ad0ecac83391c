import { posix } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';
import { containerPathOf } from './host-mounts.ts';
import type { ImageDefaults } from './input.ts';

/** Each is copied: an image with more of them is no honest one. */
const mostVolumes = 128;
/** An image's folders there would take the place of what the kernel shows. */
const kernelFolders = ['/proc', '/sys', '/dev'];

/**
 * The VOLUMEs of an image for which folders are needed: those that no mount of the container covers, nor another VOLUME, whose
 * folder has them in it. Absolute, each once.
 * @throws {RpcError} FAILED_PRECONDITION for an image with more than 128 of them
 */
export function imageVolumes(
  { volumes }: Pick<ImageDefaults, 'volumes'>,
  { mounts }: Pick<cri.ContainerConfig, 'mounts'>,
): string[] {
  const covered = new Set(['/', ...mounts.map(containerPathOf)]);
  const wanted = new Set(volumes.map((path) => posix.resolve('/', path)));
  const isBelow = (path: string, folders: Iterable<string>) => [...folders].some((one) => path.startsWith(`${one}/`));
  const own = [...wanted].filter((path) => !covered.has(path) && !path.includes('\0'));
  const taken = own.filter(
    (path) => !kernelFolders.includes(path) && !isBelow(path, kernelFolders) && !isBelow(path, own),
  );
  if (taken.length <= mostVolumes) return taken;
  throw new RpcError(
    Code.FailedPrecondition,
    `the image has ${taken.length} VOLUMEs; at most ${mostVolumes} are made: mount something over the others`,
  );
}
