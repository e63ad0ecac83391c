import { chmodSync, chownSync, closeSync, existsSync, mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { join, normalize } from 'node:path';
import { unmountAllUnder, type NativeAddon } from '../linux/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { types } from '../wire/index.ts';
import { resolveInside } from './resolve-inside.ts';
import { fillTemplate, neededDirectories, type ActiveMount, type NeededDirectory } from './mount-templates.ts';

/** Where a container's rootfs mounts go, by agreement with containerd. */
function rootfsPath(bundle: string): string {
  return join(bundle, 'rootfs');
}

/** Where mounts go that only later mounts refer to. */
function layersPath(bundle: string): string {
  return join(bundle, 'layers');
}

const transformers = /^((?:[a-z]+\/)*)([^/]*)$/;

/**
 * Mounts the rootfs of a create request, in order. Undone by `unmountRootfs`, also when it throws half way.
 *
 * A source that is an image file (ext4, erofs, …) is mounted through a loop device. A type may have the transformers of
 * containerd's mount manager in front: `format/` (templates that refer to earlier mounts, which then are mounted beside the
 * rootfs) and `mkdir/` (directories that are made first).
 * @throws TtrpcError INVALID_ARGUMENT, UNIMPLEMENTED, FAILED_PRECONDITION with the mount that failed
 */
export function mountRootfs(mounts: readonly types.Mount[], bundle: string, native: NativeAddon): void {
  const rootfs = rootfsPath(bundle);
  mkdirSync(rootfs, { recursive: true, mode: 0o711 });
  const firstOnRootfs = mounts.findLastIndex(({ type }) => type.includes('format/'));
  const active: ActiveMount[] = [];
  for (const [index, mount] of mounts.entries()) {
    const base = index < firstOnRootfs ? join(layersPath(bundle), String(index)) : rootfs;
    mkdirSync(base, { recursive: true, mode: 0o711 });
    active.push(mountTransformed(mount, base, active, native));
  }
}

function mountTransformed(
  mount: types.Mount,
  base: string,
  active: readonly ActiveMount[],
  native: NativeAddon,
): ActiveMount {
  const [, prefixes = '', type = ''] = transformers.exec(mount.type) ?? [];
  let { source, target, options } = mount;
  for (const transformer of prefixes.split('/').slice(0, -1)) {
    if (transformer === 'format') {
      source = fillTemplate(source, active);
      target = fillTemplate(target, active);
      options = options.map((option) => fillTemplate(option, active));
    } else if (transformer === 'mkdir') {
      const needed = neededDirectories(options);
      for (const directory of needed.directories) makeDirectory(directory, active);
      options = needed.options;
    } else {
      throw new TtrpcError(
        Code.Unimplemented,
        `mount transformer "${transformer}" of type "${mount.type}" is not built in here`,
      );
    }
  }
  mountOne({ type, source, target, options }, base, native);
  return { source, target, mountPoint: targetUnder(base, target) };
}

/** Only in what was mounted for this container, whatever links are there. */
function makeDirectory({ path, mode, owner }: NeededDirectory, active: readonly ActiveMount[]): void {
  const home = active.find(({ mountPoint }) => path.startsWith(`${mountPoint}/`))?.mountPoint;
  if (home === undefined || normalize(path) !== path) {
    throw new TtrpcError(Code.InvalidArgument, `directory "${path}" is in none of the container's mounts`);
  }
  const directory = resolveInside(home, path.slice(home.length));
  if (!existsSync(directory)) mkdirSync(directory);
  chmodSync(directory, mode);
  if (owner !== undefined) chownSync(directory, owner.uid, owner.gid);
}

function mountOne({ type, source, target, options }: types.Mount, base: string, native: NativeAddon): void {
  const path = targetUnder(base, target);
  try {
    if (isImage(source, type, options)) mountImage(source, path, type, options, native);
    else native.mount(source, path, type, options);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TtrpcError(
      Code.FailedPrecondition,
      `cannot mount ${type} ${source} on ${path} (${options.join(',')}): ${why}`,
      { cause },
    );
  }
}

function mountImage(file: string, path: string, type: string, options: readonly string[], native: NativeAddon): void {
  const loop = native.attachLoopDevice(file, type === 'erofs' || options.includes('ro'));
  try {
    native.mount(
      loop.device,
      path,
      type,
      options.filter((option) => option !== 'loop'),
    );
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

/** A target is a path in the container: links that its image has made do not lead out of the rootfs. */
function targetUnder(base: string, target: string): string {
  if (target === '' || target === '/') return base;
  if (target.split('/').includes('..')) {
    throw new TtrpcError(Code.InvalidArgument, `mount target "${target}" leaves the rootfs`);
  }
  return resolveInside(base, target);
}

/** Takes down whatever is mounted for a container's rootfs, newest first. Nothing mounted is no error. */
export function unmountRootfs(bundle: string, native: NativeAddon): void {
  unmountAllUnder(rootfsPath(bundle), native);
  if (!existsSync(layersPath(bundle))) return;
  unmountAllUnder(layersPath(bundle), native);
  // Not recursively: should something still be mounted there, its files are not ours to remove.
  for (const layer of readdirSync(layersPath(bundle))) rmdirSync(join(layersPath(bundle), layer));
  rmdirSync(layersPath(bundle));
}
