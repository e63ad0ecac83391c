import { closeSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { unmountAllUnder, type NativeAddon } from '../linux/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { types } from '../wire/index.ts';
import type { ContainerRecord } from './record.ts';

/** Where a container's rootfs mounts go, by agreement with containerd. */
export function rootfsPath(bundle: string): string {
  return join(bundle, 'rootfs');
}

/**
 * Mounts the rootfs of a create request, in order. Undone by `unmountRootfs`, also when it throws half way.
 * A source that is an image file (ext4, erofs, …) is mounted through a loop device.
 * @throws TtrpcError INVALID_ARGUMENT, FAILED_PRECONDITION with the mount that failed
 */
export function mountRootfs(mounts: readonly types.Mount[], rootfs: string, native: NativeAddon): void {
  mkdirSync(rootfs, { recursive: true, mode: 0o711 });
  for (const mount of mounts) mountOne(mount, rootfs, native);
}

function mountOne({ type, source, target, options }: types.Mount, rootfs: string, native: NativeAddon): void {
  const path = targetUnder(rootfs, target);
  try {
    if (isImage(source, type, options)) mountImage(source, path, type, options, native);
    else native.mount(source, path, type, options);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TtrpcError(Code.FailedPrecondition, `cannot mount ${type} ${source} on ${path} (${options.join(',')}): ${why}`, { cause });
  }
}

function mountImage(file: string, path: string, type: string, options: readonly string[], native: NativeAddon): void {
  const loop = native.attachLoopDevice(file, type === 'erofs' || options.includes('ro'));
  try {
    native.mount(loop.device, path, type, options.filter((option) => option !== 'loop'));
  } finally {
    // The mount holds the device now; without one, closing frees it.
    closeSync(loop.fd);
  }
}

/** A file that is to be mounted as anything but a bind mount is an image, whether its options say so or not. */
function isImage(source: string, type: string, options: readonly string[]): boolean {
  if (options.includes('loop')) return true;
  if (type === 'bind' || options.some((option) => /^r?bind$/.test(option)) || !source.startsWith('/')) return false;
  return statSync(source, { throwIfNoEntry: false })?.isFile() === true;
}

function targetUnder(rootfs: string, target: string): string {
  if (target === '' || target === '/') return rootfs;
  const parts = target.split('/').filter((part) => part !== '');
  if (parts.includes('..')) throw new TtrpcError(Code.InvalidArgument, `mount target "${target}" leaves the rootfs`);
  return join(rootfs, ...parts);
}

/** Takes down whatever is mounted at or under the container's rootfs, newest first. Nothing mounted is no error. */
export function unmountRootfs(record: ContainerRecord, native: NativeAddon): void {
  if (record.rootfs === '') return;
  unmountAllUnder(record.rootfs, native);
  record.rootfs = '';
}
