import { createHash, type Hash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { DiskRoom } from './disk-room.ts';
import { MalformedArchive } from './errors.ts';
import type { ExtractedFile } from './protocol.ts';
import type { TarEntry, TarTaker } from './tar-entry.ts';

const mostFiles = 20_000;
const mostNameCharacters = 1024;

/**
 * Puts the files of an archive of images into a folder, each under a number: no name of the archive gets to the file system.
 * Links among them (docker save writes some) become further names of what they lead to.
 */
export class ArchiveExtractor implements TarTaker {
  readonly #folder: string;
  readonly #room: DiskRoom;
  readonly #files = new Map<string, ExtractedFile>();
  readonly #links: { name: string; target: string }[] = [];
  #count = 0;
  #open: { fd: number; name: string; file: string; hash: Hash; size: number } | undefined;

  constructor(folder: string, room: DiskRoom) {
    this.#folder = folder;
    this.#room = room;
  }

  begin(entry: TarEntry): void {
    const longest = Math.max(entry.path.length, entry.target.length);
    if (++this.#count > mostFiles || longest > mostNameCharacters)
      throw new MalformedArchive('this is no archive of images');
    const name = resolveName('', entry.path);
    if (entry.type === 'link') this.#links.push({ name, target: resolveName('', entry.target) });
    if (entry.type === 'symlink')
      this.#links.push({ name, target: resolveName(name.slice(0, name.lastIndexOf('/') + 1), entry.target) });
    if (entry.type !== 'file') return;
    const file = String(this.#count);
    this.#open = {
      fd: openSync(join(this.#folder, file), 'wx', 0o600),
      name,
      file,
      hash: createHash('sha256'),
      size: 0,
    };
  }

  write(content: Buffer, position: number): void {
    if (this.#open === undefined) return;
    if (position !== this.#open.size) throw new MalformedArchive('an archive of images has no sparse files');
    this.#room.takeBytes(content.length);
    for (let written = 0; written < content.length;) {
      written += writeSync(this.#open.fd, content, written, content.length - written);
    }
    this.#open.hash.update(content);
    this.#open.size += content.length;
  }

  end(): void {
    if (this.#open === undefined) return;
    const { fd, name, file, hash, size } = this.#open;
    this.#open = undefined;
    closeSync(fd);
    this.#files.set(name, { name, file, size, digest: `sha256:${hash.digest('hex')}` });
  }

  finish(): ExtractedFile[] {
    const found = [...this.#files.values()];
    for (const { name, target } of this.#links) {
      const file = this.#files.get(target);
      if (file !== undefined && !this.#files.has(name)) found.push({ ...file, name });
    }
    return found;
  }
}

/** A name of the archive, from one of its folders; ".." of the root is the root. */
function resolveName(folder: string, name: string): string {
  const parts: string[] = [];
  for (const part of `${name.startsWith('/') ? '' : folder}${name}`.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}
