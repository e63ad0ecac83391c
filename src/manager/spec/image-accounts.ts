import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { Code, RpcError } from '../../grpc/index.ts';
import { isSystemError, type NativeAddon } from '../../linux/index.ts';
import { type Group, parseGroup, parsePasswd, type User } from './account-files.ts';

/** Real files are far below it, and a container's creation reads both at once. */
const maxFileBytes = 4 << 20;
/** Larger files are read anew each time, so that images cannot fill the cache. */
const maxCachedBytes = 64 << 10;
const maxCachedImages = 256;

const passwd = '/etc/passwd';
const group = '/etc/group';

/** Users and groups of one image. */
export interface Accounts {
  readonly users: readonly User[];
  readonly groups: readonly Group[];
}

/**
 * Reads who is who from /etc/passwd and /etc/group of images. What an image has there is hostile: links lead nowhere
 * outside of the image, a FIFO or a device is not opened, and a file has a greatest size. An image without these files
 * has no accounts.
 */
export class ImageAccounts {
  readonly #native: Pick<NativeAddon, 'openInLayers'>;
  /** In the order of their last use. */
  readonly #cache = new Map<string, Accounts>();

  constructor(native: Pick<NativeAddon, 'openInLayers'>) {
    this.#native = native;
  }

  /**
   * @param layers the image's, absolute folders, topmost first
   * @throws {RpcError} FAILED_PRECONDITION for files that are no regular ones, too long, or cannot be read
   */
  of(imageId: string, layers: readonly string[]): Accounts {
    const cached = this.#cache.get(imageId);
    this.#cache.delete(imageId);
    if (cached !== undefined) {
      this.#cache.set(imageId, cached);
      return cached;
    }
    const [users = '', groups = ''] = this.#read(imageId, layers);
    const accounts = { users: parsePasswd(users), groups: parseGroup(groups) };
    if (users.length + groups.length <= maxCachedBytes) this.#cache.set(imageId, accounts);
    for (const oldest of this.#cache.keys()) {
      if (this.#cache.size <= maxCachedImages) break;
      this.#cache.delete(oldest);
    }
    return accounts;
  }

  #read(imageId: string, layers: readonly string[]): string[] {
    const paths = [passwd, group];
    const descriptors = this.#find(imageId, layers, paths);
    try {
      return descriptors.map((fd, index) => (fd < 0 ? '' : readRegularFile(fd, imageId, paths[index] ?? '')));
    } finally {
      for (const fd of descriptors) if (fd >= 0) closeSync(fd);
    }
  }

  #find(imageId: string, layers: readonly string[], paths: readonly string[]): number[] {
    try {
      return this.#native.openInLayers(layers, paths);
    } catch (cause) {
      if (!isSystemError(cause)) throw cause;
      throw unreadable(imageId, cause.path ?? paths.join(' and '), cause.message, cause);
    }
  }
}

/** Reads what a descriptor names that opens nothing (O_PATH). */
function readRegularFile(found: number, imageId: string, path: string): string {
  const info = fstatSync(found);
  if (!info.isFile()) throw unreadable(imageId, path, 'it is not a regular file');
  if (info.size > maxFileBytes) throw unreadable(imageId, path, `it has ${info.size} bytes, more than ${maxFileBytes}`);
  const fd = openSync(`/proc/self/fd/${found}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const bytes = Buffer.alloc(info.size);
    let length = 0;
    while (length < bytes.length) {
      const read = readSync(fd, bytes, length, bytes.length - length, null);
      if (read === 0) break;
      length += read;
    }
    return bytes.toString('utf8', 0, length);
  } finally {
    closeSync(fd);
  }
}

function unreadable(imageId: string, path: string, why: string, cause?: Error): RpcError {
  const message = `cannot read ${path} of image ${imageId}: ${why}; give the user as numbers "uid:gid", or mend the image`;
  return new RpcError(Code.FailedPrecondition, message, { cause });
}
