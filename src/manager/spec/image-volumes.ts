import { posix } from 'node:path';
import type { cri } from '../../wire/index.ts';
import { containerPathOf } from './host-mounts.ts';
import type { ImageDefaults } from './input.ts';

/**
 * The VOLUMEs of an image for which folders are needed: those that no mount of the container covers. Absolute, each
 * once.
 */
export function imageVolumes(
  { volumes }: Pick<ImageDefaults, 'volumes'>,
  { mounts }: Pick<cri.ContainerConfig, 'mounts'>,
): string[] {
  const covered = new Set(['/', ...mounts.map(containerPathOf)]);
  return [...new Set(volumes.map((path) => posix.resolve('/', path)))].filter(
    (path) => !covered.has(path) && !path.includes('\0'),
  );
}
