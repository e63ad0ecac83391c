import { type BigIntStats, constants, copyFileSync, linkSync, mkdirSync, readlinkSync, symlinkSync } from 'node:fs';
import { DiskRoom } from './disk-room.ts';
import { MalformedArchive } from './errors.ts';
import { copyAttributes, type FileCalls, isOpaque, isWhiteout, look } from './file-attributes.ts';
import { parentOf } from './paths.ts';
import type { InheritTask, Results } from './protocol.ts';

/** Holes of so many bytes are copied. */
const sparseBytes = 1024n ** 3n;

interface Found {
  path: Buffer;
  stats: BigIntStats;
}

/**
 * Completes a layer by what is below it, so that laid over it, it looks as if it had been unpacked there: a directory that the layer
 * does not name keeps its owner, mode and attributes, and a file that it links to is copied up. Nothing here follows a link.
 */
export function inherit(native: FileCalls, { folder, lowers, inheritance }: InheritTask): Results['inherit'] {
  const layer = new LayerAbove(native, folder, lowers);
  for (const path of inheritance.directories) layer.inheritDirectory(path);
  for (const { path, target } of inheritance.links) layer.copyUp(path, target);
  return { bytes: layer.bytes, inodes: layer.inodes };
}

class LayerAbove {
  readonly #native: FileCalls;
  readonly #folder: string;
  readonly #lowers: string[];
  readonly #room: DiskRoom;
  bytes = 0;
  inodes = 0;

  constructor(native: FileCalls, folder: string, lowers: string[]) {
    this.#native = native;
    this.#folder = folder;
    this.#lowers = lowers;
    this.#room = new DiskRoom(folder);
  }

  inheritDirectory(path: string): void {
    const here = this.#here(path);
    if (here?.stats.isDirectory() !== true) return;
    const below = this.#below(path);
    if (below?.stats.isDirectory() === true) copyAttributes(this.#native, below.path, below.stats, here.path);
  }

  copyUp(path: string, target: string): void {
    const below = this.#below(target);
    if (below === undefined || below.stats.isDirectory()) {
      throw new MalformedArchive(
        `${JSON.stringify(path)} is a hard link to ${JSON.stringify(target)}, which is no file of the image`,
      );
    }
    if (this.#here(target) === undefined) {
      this.#ensureDirectory(parentOf(target));
      this.#copy(below, this.#inside(target));
    }
    const link = this.#here(path);
    if (link !== undefined) throw new MalformedArchive(`${JSON.stringify(path)} comes twice in the layer`);
    linkSync(this.#inside(target), this.#inside(path));
  }

  #copy({ path, stats }: Found, to: Buffer): void {
    if (stats.isFile()) {
      checkSparseness(stats);
      this.#room.takeBytes(Number(stats.size));
      copyFileSync(path, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    } else if (stats.isSymbolicLink()) symlinkSync(readlinkSync(path, 'buffer'), to);
    else {
      const device = Number(stats.rdev);
      const major = ((device >>> 8) & 0xfff) | (Math.floor(device / 2 ** 32) & ~0xfff);
      const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
      this.#native.mknod(to, Number(stats.mode), major, minor);
    }
    copyAttributes(this.#native, path, stats, to);
    this.inodes++;
    this.bytes += Number(stats.blocks) * 512;
  }

  #ensureDirectory(path: string): void {
    if (path === '') return;
    this.#ensureDirectory(parentOf(path));
    const here = this.#here(path);
    if (here?.stats.isDirectory() === true) return;
    if (here !== undefined) throw new MalformedArchive(`${JSON.stringify(path)} has files in it and is no directory`);
    mkdirSync(this.#inside(path));
    this.inodes++;
    this.inheritDirectory(path);
  }

  /**
   * Where to make a file of the layer. The host's root is the root here, so a link on the way would lead out of the layer.
   * @throws MalformedArchive unless all that it lies in are directories of this layer
   */
  #inside(path: string): Buffer {
    if (this.#here(parentOf(path))?.stats.isDirectory() !== true)
      throw new MalformedArchive(`${JSON.stringify(path)} lies behind a link`);
    return Buffer.concat([Buffer.from(`${this.#folder}/`), Buffer.from(path, 'latin1')]);
  }

  /** What the layer itself has of that path; undefined, too, where a link is in the way. */
  #here(path: string): Found | undefined {
    const found = walk(Buffer.from(this.#folder), path, () => undefined);
    return found === 'nothing' || found === 'hidden' ? undefined : found;
  }

  /** What the layers below show at that path, by overlayfs's rules. */
  #below(path: string): Found | undefined {
    const seen = { opaque: false };
    const noteOpaque = (directory: Buffer) => {
      seen.opaque ||= isOpaque(this.#native, directory);
    };
    walk(Buffer.from(this.#folder), path, noteOpaque);
    for (const lower of this.#lowers) {
      if (seen.opaque) return undefined;
      const found = walk(Buffer.from(lower), path, noteOpaque);
      if (found === 'hidden') return undefined;
      if (found !== 'nothing') return found;
    }
    return undefined;
  }
}

/** A copy has all the bytes where the file system cannot share them: holes may not make much of little. */
function checkSparseness({ size, blocks }: BigIntStats): void {
  if (size > blocks * 512n * 16n + sparseBytes)
    throw new MalformedArchive(`a hard link to a sparse file of ${size} bytes in another layer is not supported`);
}

/**
 * Goes down a path of one layer. 'nothing': the layer says nothing of it; 'hidden': it says that there is nothing (a whiteout, or a
 * file where the path has a directory).
 */
function walk(root: Buffer, path: string, each: (directory: Buffer) => void): Found | 'nothing' | 'hidden' {
  let at = root;
  let stats = look(at);
  if (stats === undefined) return 'nothing';
  for (const part of path === '' ? [] : path.split('/')) {
    if (!stats.isDirectory()) return 'hidden';
    each(at);
    at = Buffer.concat([at, Buffer.from(`/${part}`, 'latin1')]);
    stats = look(at);
    if (stats === undefined) return 'nothing';
    if (isWhiteout(stats)) return 'hidden';
  }
  return { path: at, stats };
}
