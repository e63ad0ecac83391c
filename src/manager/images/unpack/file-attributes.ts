import { type BigIntStats, chmodSync, lchownSync, lstatSync, lutimesSync } from 'node:fs';
import { isSystemError, type NativeAddon } from '../../../linux/index.ts';

/** The part of the addon that works on files. */
export type FileCalls = Pick<NativeAddon, 'mknod' | 'setXattr' | 'getXattr' | 'listXattrs' | 'changeRoot'>;

const overlayOpaque = 'trusted.overlay.opaque';

/** What overlayfs itself reads: from a layer these would redirect it, so no layer gets to set them. */
export function isOverlayAttribute(name: string): boolean {
  return name.startsWith('trusted.overlay.') || name.startsWith('user.overlay.');
}

/** Hides what the layers below have in that directory. */
export function makeOpaque(native: FileCalls, directory: string | Buffer): void {
  native.setXattr(directory, overlayOpaque, Buffer.from('y'));
}

export function isOpaque(native: FileCalls, directory: string | Buffer): boolean {
  return native.getXattr(directory, overlayOpaque)?.toString('latin1') === 'y';
}

/** overlayfs's form of "there is nothing of this name". */
export function isWhiteout(stats: BigIntStats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0n;
}

/** undefined where there is nothing. The last component is not followed. */
export function look(path: string | Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** Sets an attribute as far as this file system and this kind of file can have it. */
export function setXattrIfPossible(native: FileCalls, path: string | Buffer, name: string, value: Buffer): void {
  if (isOverlayAttribute(name)) return;
  try {
    native.setXattr(path, name, value);
  } catch (error) {
    if (isSystemError(error, 'ENOTSUP', 'EOPNOTSUPP')) return;
    // Links and devices have none of these.
    if (name.startsWith('user.') && isSystemError(error, 'EPERM')) return;
    throw error;
  }
}

/** Gives a directory, or another file that is no link, the owner, mode, attributes and time of one elsewhere. */
export function copyAttributes(
  native: FileCalls,
  from: string | Buffer,
  stats: BigIntStats,
  to: string | Buffer,
): void {
  lchownSync(to, Number(stats.uid), Number(stats.gid));
  if (!stats.isSymbolicLink()) chmodSync(to, Number(stats.mode & 0o7777n));
  for (const name of native.listXattrs(from)) {
    const value = native.getXattr(from, name);
    if (value !== undefined) setXattrIfPossible(native, to, name, value);
  }
  lutimesSync(to, Number(stats.atimeNs) / 1e9, Number(stats.mtimeNs) / 1e9);
}
