import { posix } from 'node:path';
import type { cri } from '../../wire/index.ts';
import type { ImageDefaults } from './input.ts';
import { refuse } from './refusal.ts';

/**
 * What is run: `command` stands for the image's entrypoint and `args` for its cmd. A command of one's own is not
 * combined with the image's cmd, which was meant for another program.
 * @throws {RpcError} INVALID_ARGUMENT when neither says anything
 */
export function processArgs(
  { command, args }: Pick<cri.ContainerConfig, 'command' | 'args'>,
  image: Pick<ImageDefaults, 'entrypoint' | 'cmd'>,
): string[] {
  if (command.length > 0) return [...command, ...args];
  const entrypoint = image.entrypoint.length === 1 && image.entrypoint[0] === '' ? [] : image.entrypoint;
  const all = [...entrypoint, ...(args.length > 0 ? args : image.cmd)];
  if (all.length === 0) refuse('config.command', 'is empty, and the image names no command either: give one');
  return all;
}

/** Where it is run: absolute. An image's relative path is meant from its root. */
export function workingDirectory(
  { workingDir }: Pick<cri.ContainerConfig, 'workingDir'>,
  image: Pick<ImageDefaults, 'workingDir'>,
): string {
  return workingDir !== '' ? posix.normalize(workingDir) : posix.resolve('/', image.workingDir);
}
