import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { isSystemError } from '../../../linux/index.ts';
import type { DiskRoom } from './disk-room.ts';
import { MalformedArchive } from './errors.ts';
import { type FileCalls, isWhiteout, look, makeOpaque, setXattrIfPossible } from './file-attributes.ts';
import { baseOf, cleanPath, parentOf, toPath } from './paths.ts';
import type { Unpacked } from './protocol.ts';
import type { TarEntry, TarTaker } from './tar-entry.ts';

const whiteoutPrefix = '.wh.';
const opaqueName = '.wh..wh..opq';
/** aufs's own files. */
const metaPrefix = '.wh..wh.';

const typeBits = { character: constants.S_IFCHR, block: constants.S_IFBLK, fifo: constants.S_IFIFO };
const createFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const assumedBlockBytes = 4096;
/** Of names that other layers are asked for: they go to the daemon in one message. */
const mostNotedCharacters = 16 * 1024 * 1024;

/**
 * Makes the files of a layer in the working directory, which must also be the process's root: so no name and no link in it leads
 * anywhere else. Whiteouts and opaque directories get overlayfs's form.
 */
export class LayerWriter implements TarTaker {
  readonly #native: FileCalls;
  /** Directories that are known to be there. */
  #known = new Set<string>(['']);
  /** Directories that the layer did not name, but what is in them. */
  readonly #implied = new Set<string>(['']);
  /** Hard links to what has not come (yet). */
  readonly #pendingLinks = new Map<string, string>();
  /** What is written into a directory changes its time: so these are set last. */
  readonly #directoryTimes = new Map<string, number>();
  #file: { fd: number; entry: TarEntry; path: string; bytes: number } | undefined;
  readonly #room: DiskRoom;
  #notedCharacters = 0;
  #bytes = 0;
  #inodes = 1;

  constructor(native: FileCalls, room: DiskRoom) {
    this.#native = native;
    this.#room = room;
  }

  begin(entry: TarEntry): void {
    this.#room.takeFile();
    const path = cleanPath(entry.path);
    const base = baseOf(path);
    if (base.startsWith(whiteoutPrefix)) {
      this.#whiteout(path, base);
      return;
    }
    if (path !== '') this.#ensureDirectory(parentOf(path));
    this.#pendingLinks.delete(path);
    switch (entry.type) {
      case 'file':
        this.#beginFile(path, entry);
        return;
      case 'directory':
        this.#directory(path, entry);
        return;
      case 'link':
        this.#link(path, cleanPath(entry.target));
        return;
      case 'symlink':
        if (entry.target === '') throw new MalformedArchive(`${JSON.stringify(path)} is a link without a target`);
        this.#create(path, () => symlinkSync(toPath(entry.target), toPath(path)));
        break;
      case 'character':
      case 'block':
      case 'fifo':
        this.#create(path, () =>
          this.#native.mknod(
            toPath(path),
            typeBits[entry.type as keyof typeof typeBits] | entry.mode,
            entry.major,
            entry.minor,
          ),
        );
        break;
    }
    this.#attributes(path, entry);
    lutimesSync(toPath(path), entry.mtime, entry.mtime);
    this.#inodes++;
  }

  write(content: Buffer, position: number): void {
    if (this.#file === undefined) return;
    this.#room.takeBytes(content.length);
    this.#file.bytes += content.length;
    for (let written = 0; written < content.length;) {
      written += writeSync(this.#file.fd, content, written, content.length - written, position + written);
    }
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#file = undefined;
    const { fd, entry, path, bytes } = file;
    try {
      if (entry.size > bytes) ftruncateSync(fd, entry.size);
      if (entry.uid !== 0 || entry.gid !== 0) fchownSync(fd, owner(entry.uid), owner(entry.gid));
      fchmodSync(fd, entry.mode);
      for (const [name, value] of entry.xattrs) this.#xattr(path, name, value);
      futimesSync(fd, entry.mtime, entry.mtime);
    } finally {
      closeSync(fd);
    }
    this.#bytes += Math.ceil(bytes / assumedBlockBytes) * assumedBlockBytes;
    this.#inodes++;
  }

  /** Nothing comes any more. @returns what the layer holds, and what only the layers below can tell */
  finish(): Unpacked {
    const links: { path: string; target: string }[] = [];
    for (const [path, target] of this.#pendingLinks) {
      if (look(toPath(target)) === undefined) links.push({ path: resolved(path), target });
      else this.#create(path, () => linkSync(toPath(target), toPath(path)));
    }
    for (const [path, mtime] of [...this.#directoryTimes].reverse()) {
      if (look(toPath(path) || '.')?.isDirectory() === true) lutimesSync(toPath(path) || '.', mtime, mtime);
    }
    const directories = [...this.#implied].sort();
    return { bytes: this.#bytes, inodes: this.#inodes, inheritance: { directories, links } };
  }

  /** Closes what an error has left open. */
  close(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #beginFile(path: string, entry: TarEntry): void {
    const fd = this.#create(path, () => openSync(toPath(path), createFlags, 0o600));
    this.#file = { fd, entry, path, bytes: 0 };
  }

  #directory(path: string, entry: TarEntry): void {
    const present = path === '' ? undefined : look(toPath(path));
    const isNew = path !== '' && present?.isDirectory() !== true;
    if (isNew) {
      const hid = present !== undefined && isWhiteout(present);
      if (present !== undefined) this.#remove(path);
      mkdirSync(toPath(path));
      if (hid) makeOpaque(this.#native, toPath(path));
      this.#known.add(path);
      this.#countDirectory();
    }
    this.#implied.delete(path);
    this.#attributes(path, entry);
    this.#directoryTimes.delete(path);
    this.#directoryTimes.set(path, entry.mtime);
  }

  #link(path: string, target: string): void {
    if (target === path) return;
    try {
      this.#create(path, () => linkSync(toPath(target), toPath(path)));
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error;
      this.#note(path.length + target.length);
      this.#pendingLinks.set(path, target);
    }
  }

  /** `.wh.NAME` says that NAME of the layers below is not there; `.wh..wh..opq` that nothing of its directory is. */
  #whiteout(path: string, base: string): void {
    const parent = parentOf(path);
    if (base.startsWith(metaPrefix)) {
      if (base !== opaqueName) return;
      this.#ensureDirectory(parent);
      makeOpaque(this.#native, toPath(parent) || '.');
      return;
    }
    const name = base.slice(whiteoutPrefix.length);
    if (name === '' || name === '.' || name === '..')
      throw new MalformedArchive(`${JSON.stringify(path)} hides no file's name`);
    this.#ensureDirectory(parent);
    const hidden = parent === '' ? name : `${parent}/${name}`;
    const present = look(toPath(hidden));
    if (present === undefined) {
      this.#native.mknod(toPath(hidden), constants.S_IFCHR, 0, 0);
      this.#inodes++;
    } else if (present.isDirectory()) {
      // What the layer itself has of that name stays.
      makeOpaque(this.#native, toPath(hidden));
    }
  }

  /** Makes a directory and those above it as far as they are missing; the layers below may know better what they are like. */
  #ensureDirectory(path: string): void {
    if (this.#known.has(path)) return;
    this.#ensureDirectory(parentOf(path));
    const present = look(toPath(path));
    if (present === undefined || isWhiteout(present)) {
      if (present !== undefined) unlinkSync(toPath(path));
      mkdirSync(toPath(path));
      chmodSync(toPath(path), 0o755);
      if (present !== undefined) makeOpaque(this.#native, toPath(path));
      else {
        this.#note(path.length);
        this.#implied.add(path);
      }
      this.#countDirectory();
    } else if (!present.isDirectory() && !leadsToDirectory(path)) {
      throw new MalformedArchive(`${JSON.stringify(path)} has files in it and is no directory`);
    }
    this.#known.add(path);
  }

  /** Makes a file; what is there of that name gives way. */
  #create<T>(path: string, make: () => T): T {
    if (path === '') throw new MalformedArchive('the root of the layer is no directory');
    try {
      return make();
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error;
      this.#remove(path);
      return make();
    }
  }

  #remove(path: string): void {
    rmSync(toPath(path), { recursive: true, force: true });
    this.#known = new Set(['']);
    for (const implied of this.#implied) {
      if (implied === path || implied.startsWith(`${path}/`)) this.#implied.delete(implied);
    }
  }

  /** Owner, mode (after the owner: chown clears set-id bits) and attributes (after both: chown clears capabilities). */
  #attributes(path: string, entry: TarEntry): void {
    const file = toPath(path) || '.';
    lchownSync(file, owner(entry.uid), owner(entry.gid));
    if (entry.type !== 'symlink') chmodSync(file, entry.mode);
    for (const [name, value] of entry.xattrs) this.#xattr(path, name, value);
  }

  #xattr(path: string, name: string, value: Buffer): void {
    // Names are UTF-8 in the archive, and here each byte is a character.
    setXattrIfPossible(this.#native, toPath(path) || '.', Buffer.from(name, 'latin1').toString(), value);
  }

  #note(characters: number): void {
    this.#notedCharacters += characters;
    if (this.#notedCharacters > mostNotedCharacters) throw new MalformedArchive('too many links to other layers');
  }

  #countDirectory(): void {
    this.#room.takeFile();
    this.#inodes++;
    this.#bytes += assumedBlockBytes;
  }
}

/** The path by which a file is reached without a link on the way, which only this root resolves rightly. */
function resolved(path: string): string {
  const parent = realpathSync.native(toPath(`/${parentOf(path)}`), 'latin1');
  return cleanPath(`${parent}/${baseOf(path)}`);
}

function leadsToDirectory(path: string): boolean {
  return statSync(toPath(path), { throwIfNoEntry: false })?.isDirectory() === true;
}

function owner(id: number): number {
  if (id < 0 || id > 0xffff_fffe) throw new MalformedArchive(`${id} is no user or group`);
  return id;
}
