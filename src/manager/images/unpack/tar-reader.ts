import { MalformedArchive } from './errors.ts';
import { parsePaxRecords } from './pax.ts';
import { checkExtents, type Extent, extentsOf, leadingMap, mostExtents, oldExtents } from './sparse.ts';
import type { TarEntry, TarTaker } from './tar-entry.ts';
import { blockBytes, isZeroBlock, parseHeader, type TarHeader, textField } from './tar-header.ts';

/** For all of a file: extended headers hold names and attributes; Linux allows an attribute 64 KiB. */
const mostExtendedBytes = 8 * 1024 * 1024;
/** Two numbers of up to 16 digits for each extent. */
const mostMapBytes = mostExtents * 34 + 2 * blockBytes;

const types: Record<string, TarEntry['type']> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
};

/** What extended headers say of the next file. */
interface Extension {
  longPath?: string;
  longTarget?: string;
  records: Map<string, Buffer>;
  xattrs: [string, Buffer][];
  /** Numbers of pax sparse format 0.0, in order. */
  sparseNumbers: string[];
}

const noExtension = (): Extension => ({ records: new Map(), xattrs: [], sparseNumbers: [] });

/** A file whose content is coming. */
interface Current {
  /** Bytes of the archive that are still its content. */
  left: number;
  padding: number;
  extents: Extent[];
  /** The extent that is coming, and how many of its bytes have come. */
  index: number;
  taken: number;
}

type State =
  | { at: 'header' }
  | { at: 'extension'; typeFlag: string; length: number; padded: number }
  | { at: 'continuation'; header: TarHeader; fileBytes: number; extents: Extent[] }
  | { at: 'map'; entry: TarEntry; stored: number }
  | { at: 'content'; current: Current }
  | { at: 'skip'; left: number }
  | { at: 'end' };

/**
 * Reads a tar archive (v7, ustar, pax, GNU; with all of the sparse formats) from pieces of any size and gives its files to a taker.
 * It holds no more than one header's worth of it.
 */
export class TarReader {
  readonly #taker: TarTaker;
  #state: State = { at: 'header' };
  #extension = noExtension();
  #extendedBytes = 0;
  /** What has come and is no whole header yet. */
  #pending: Buffer = Buffer.alloc(0);

  constructor(taker: TarTaker) {
    this.#taker = taker;
  }

  /** @throws MalformedArchive, and what the taker throws */
  push(chunk: Buffer): void {
    let rest = this.#pending.length > 0 ? Buffer.concat([this.#pending, chunk]) : chunk;
    for (;;) {
      const taken = this.#step(rest);
      if (taken === undefined) break;
      rest = rest.subarray(taken);
    }
    // The chunk's memory is its giver's again.
    this.#pending = rest.length > 0 ? Buffer.from(rest) : rest;
  }

  /** The archive is over. @throws MalformedArchive when it is cut off */
  end(): void {
    const isOver = this.#state.at === 'end' || (this.#state.at === 'header' && this.#pending.length === 0);
    const { longPath, longTarget, records } = this.#extension;
    const isHeadless = longPath !== undefined || longTarget !== undefined || records.size > 0;
    if (!isOver || isHeadless) throw new MalformedArchive('the tar archive is cut off');
  }

  /** How many bytes it could use; undefined when it needs more than there are. */
  #step(bytes: Buffer): number | undefined {
    const state = this.#state;
    switch (state.at) {
      case 'header':
        return bytes.length < blockBytes ? undefined : this.#header(bytes.subarray(0, blockBytes));
      case 'extension':
        if (bytes.length < state.padded) return undefined;
        this.#extend(state.typeFlag, bytes.subarray(0, state.length));
        this.#state = { at: 'header' };
        return state.padded;
      case 'continuation':
        return bytes.length < blockBytes ? undefined : this.#continue(state, bytes.subarray(0, blockBytes));
      case 'map':
        return this.#map(state, bytes);
      case 'content':
        return this.#content(state.current, bytes);
      case 'skip': {
        if (state.left === 0) {
          this.#state = { at: 'header' };
          return 0;
        }
        const taken = Math.min(state.left, bytes.length);
        state.left -= taken;
        return taken > 0 ? taken : undefined;
      }
      case 'end':
        return bytes.length > 0 ? bytes.length : undefined;
    }
  }

  #header(block: Buffer): number {
    if (isZeroBlock(block)) {
      this.#state = { at: 'end' };
      return blockBytes;
    }
    const header = parseHeader(block);
    if (header.size < 0) throw new MalformedArchive('a file of the archive has a negative size');
    const padded = Math.ceil(header.size / blockBytes) * blockBytes;
    switch (header.typeFlag) {
      case 'x':
      case 'X':
      case 'L':
      case 'K':
        this.#extendedBytes += blockBytes + header.size;
        if (this.#extendedBytes > mostExtendedBytes)
          throw new MalformedArchive('the extended headers of a file in the archive are too long');
        this.#state = { at: 'extension', typeFlag: header.typeFlag, length: header.size, padded };
        return blockBytes;
      case 'g':
        this.#state = { at: 'skip', left: padded };
        return blockBytes;
      case 'S': {
        const { extents, continues } = oldExtents(block, false);
        const fileBytes = Number.parseInt(textField(block, 483, 12).trim() || '0', 8);
        if (continues) this.#state = { at: 'continuation', header, fileBytes, extents };
        else this.#begin(header, { fileBytes, extents });
        return blockBytes;
      }
      default:
        this.#begin(header);
        return blockBytes;
    }
  }

  #extend(typeFlag: string, content: Buffer): void {
    if (typeFlag === 'L' || typeFlag === 'K') {
      const text = textField(content, 0, content.length);
      this.#extension[typeFlag === 'L' ? 'longPath' : 'longTarget'] = text;
      return;
    }
    for (const [key, borrowed] of parsePaxRecords(content)) {
      const value = Buffer.from(borrowed);
      if (key.startsWith('SCHILY.xattr.')) this.#extension.xattrs.push([key.slice('SCHILY.xattr.'.length), value]);
      else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') {
        this.#extension.sparseNumbers.push(value.toString('latin1'));
      } else this.#extension.records.set(key, value);
    }
  }

  #continue(state: Extract<State, { at: 'continuation' }>, block: Buffer): number {
    const { extents, continues } = oldExtents(block, true);
    state.extents.push(...extents);
    if (state.extents.length > mostExtents) throw new MalformedArchive('the map of a sparse file is too long');
    if (!continues) this.#begin(state.header, state);
    return blockBytes;
  }

  /** All that there is to know of a file is known, but for a map that is in front of its content. */
  #begin(header: TarHeader, sparse?: { fileBytes: number; extents: Extent[] }): void {
    const { longPath, longTarget, records, xattrs, sparseNumbers } = this.#extension;
    this.#extension = noExtension();
    this.#extendedBytes = 0;
    const record = (key: string) => records.get(key)?.toString('latin1');
    const path = record('GNU.sparse.name') ?? record('path') ?? longPath ?? header.path;
    const type =
      header.typeFlag === '0' || header.typeFlag === '\0'
        ? path.endsWith('/')
          ? 'directory'
          : 'file'
        : types[header.typeFlag];
    if (type === undefined) {
      throw new MalformedArchive(
        `${JSON.stringify(path)} is of type ${JSON.stringify(header.typeFlag)}, which is not supported`,
      );
    }
    const entry: TarEntry = {
      type,
      path,
      target: record('linkpath') ?? longTarget ?? header.target,
      mode: header.mode,
      uid: number(record('uid')) ?? header.uid,
      gid: number(record('gid')) ?? header.gid,
      size: 0,
      mtime: number(record('mtime')) ?? header.mtime,
      major: header.major,
      minor: header.minor,
      xattrs,
    };
    if (entry.path.includes('\0') || entry.target.includes('\0'))
      throw new MalformedArchive('a name in the archive has a null byte');
    const stored = type === 'file' ? (number(record('size')) ?? header.size) : 0;
    if (!Number.isSafeInteger(stored) || stored < 0)
      throw new MalformedArchive(`the size of ${JSON.stringify(path)} is none`);
    const fileBytes = sparse?.fileBytes ?? number(record('GNU.sparse.realsize')) ?? number(record('GNU.sparse.size'));
    if (type !== 'file' || fileBytes === undefined) {
      entry.size = stored;
      this.#deliver(entry, [{ offset: 0, length: stored }], stored, stored);
      return;
    }
    if (!Number.isSafeInteger(fileBytes) || fileBytes < 0)
      throw new MalformedArchive(`the size of ${JSON.stringify(path)} is none`);
    entry.size = fileBytes;
    if (record('GNU.sparse.major') === '1') {
      this.#state = { at: 'map', entry, stored };
      return;
    }
    const map = record('GNU.sparse.map');
    const extents =
      sparse?.extents ?? extentsOf(map === undefined ? sparseNumbers : map.split(',').filter((part) => part !== ''));
    checkExtents(extents, stored, fileBytes);
    this.#deliver(entry, extents, stored, stored);
  }

  #map({ entry, stored }: Extract<State, { at: 'map' }>, bytes: Buffer): number | undefined {
    const map = leadingMap(bytes.length > stored ? bytes.subarray(0, stored) : bytes);
    if (map === undefined) {
      if (bytes.length >= Math.min(stored, mostMapBytes))
        throw new MalformedArchive('the map of a sparse file is cut off');
      return undefined;
    }
    checkExtents(map.extents, stored - map.bytes, entry.size);
    this.#deliver(entry, map.extents, stored - map.bytes, stored);
    return map.bytes;
  }

  #deliver(entry: TarEntry, extents: Extent[], left: number, storedInAll: number): void {
    this.#taker.begin(entry);
    const padding = (blockBytes - (storedInAll % blockBytes)) % blockBytes;
    const filled = extents.filter(({ length }) => length > 0);
    this.#state = { at: 'content', current: { left, padding, extents: filled, index: 0, taken: 0 } };
  }

  #content(current: Current, bytes: Buffer): number | undefined {
    const extent = current.extents[current.index];
    if (current.left === 0 || extent === undefined) {
      this.#taker.end();
      this.#state = { at: 'skip', left: current.padding };
      return 0;
    }
    const length = Math.min(bytes.length, extent.length - current.taken);
    if (length === 0) return undefined;
    this.#taker.write(bytes.subarray(0, length), extent.offset + current.taken);
    current.left -= length;
    current.taken += length;
    if (current.taken === extent.length) {
      current.index++;
      current.taken = 0;
    }
    return length;
  }
}

function number(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text === '' || !Number.isFinite(value))
    throw new MalformedArchive('a number in an extended header of the archive is none');
  return value;
}
