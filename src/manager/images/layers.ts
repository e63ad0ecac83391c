import { mkdirSync, readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { RecordTable } from '../store/index.ts';
import { hexOf } from './digest.ts';
import type { StoredLayer } from './record.ts';
import type { Scratch } from './scratch.ts';
import { SharedWork } from './shared-work.ts';
import { taskError, type Unpackers } from './unpackers.ts';

/** A layer that an image needs. */
export interface WantedLayer {
  chainId: string;
  diffId: string;
  /** The file, and what it should hold. */
  blob: string;
  blobDigest: string;
  /** Chain ids of the layers below it, bottom first. */
  below: string[];
  /** For messages. */
  image: string;
}

export interface LayerOptions {
  signal: AbortSignal;
  /** Settles when the layers below are there. */
  whenBelow: Promise<unknown>;
  /** Bytes of the blob that have been unpacked. */
  onProgress?: (bytes: number) => void;
}

/** A layer could not be finished since those below it did not come: another caller's may. */
class BelowMissing extends Error {
  override readonly name = 'BelowMissing';
}

/** Unpacked layers by chain id: FOLDER/HEX/fs. One is there when its record is, and that is written last. */
export class Layers {
  readonly #folder: string;
  readonly #table: RecordTable<StoredLayer>;
  readonly #scratch: Scratch;
  readonly #unpackers: Unpackers;
  readonly #log: Logger;
  readonly #work = new SharedWork<void>();
  readonly #listeners = new Map<string, Set<(bytes: number) => void>>();
  readonly #boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

  constructor(o: {
    folder: string;
    table: RecordTable<StoredLayer>;
    scratch: Scratch;
    unpackers: Unpackers;
    log: Logger;
  }) {
    this.#folder = o.folder;
    this.#table = o.table;
    this.#scratch = o.scratch;
    this.#unpackers = o.unpackers;
    this.#log = o.log;
  }

  /** Removes folders without a record, and records without a folder or whose files may not have reached the disk in another boot. */
  async open(): Promise<void> {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    for (const { chainId, unsyncedSince } of this.#table.values()) {
      const isWhole = unsyncedSince === '' || unsyncedSince === this.#boot;
      if (isWhole && statSync(this.root(chainId), { throwIfNoEntry: false })?.isDirectory() === true) continue;
      this.#log.warn({ layer: chainId }, 'an unpacked layer is missing or may not be whole: removed');
      this.#table.delete(chainId);
    }
    for (const name of readdirSync(this.#folder)) {
      if (this.#table.get(`sha256:${name}`) === undefined) await this.#scratch.discard(join(this.#folder, name));
    }
  }

  has(chainId: string): boolean {
    return this.#table.get(chainId) !== undefined;
  }

  /** The directory that is the layer. */
  root(chainId: string): string {
    return join(this.#folder, hexOf(chainId), 'fs');
  }

  /** Has a layer there: finds it, joins those who unpack it, or unpacks it. */
  async ensure(layer: WantedLayer, { signal, whenBelow, onProgress }: LayerOptions): Promise<void> {
    const { chainId } = layer;
    while (!this.has(chainId)) {
      const listeners = this.#listeners.get(chainId) ?? new Set();
      this.#listeners.set(chainId, listeners);
      if (onProgress !== undefined) listeners.add(onProgress);
      const attempt = { isMine: false };
      try {
        await this.#work.join(chainId, signal, (working) => {
          attempt.isMine = true;
          return this.#unpack(layer, working, whenBelow, (bytes) => listeners.forEach((tell) => tell(bytes)));
        });
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof BelowMissing) || attempt.isMine) throw error;
      } finally {
        if (onProgress !== undefined) listeners.delete(onProgress);
        if (listeners.size === 0) this.#listeners.delete(chainId);
      }
    }
  }

  async #unpack(
    layer: WantedLayer,
    signal: AbortSignal,
    whenBelow: Promise<unknown>,
    onProgress: (bytes: number) => void,
  ): Promise<void> {
    const { chainId, diffId, blob, blobDigest, below } = layer;
    const scratch = this.#scratch.make();
    const folder = join(scratch, 'fs');
    try {
      mkdirSync(folder, { mode: 0o755 });
      const unpacked = await this.#unpackers.run(
        { kind: 'unpack', blob, folder, blobDigest, diffId },
        { signal, onProgress },
      );
      await whenBelow.catch((error: unknown) => {
        throw new BelowMissing(`a layer below ${chainId} is missing`, { cause: error });
      });
      const lowers = below.map((id) => this.root(id)).reverse();
      const { inheritance } = unpacked;
      if (inheritance.links.length > 0 || (inheritance.directories.length > 0 && lowers.length > 0)) {
        const added = await this.#unpackers.run({ kind: 'inherit', folder, lowers, inheritance }, { signal });
        unpacked.bytes += added.bytes;
        unpacked.inodes += added.inodes;
      }
      signal.throwIfAborted();
      const { bytes, inodes } = unpacked;
      renameSync(scratch, join(this.#folder, hexOf(chainId)));
      this.#table.put(chainId, { chainId, diffId, bytes, inodes, unsyncedSince: this.#boot });
    } catch (error) {
      await this.#scratch.discard(scratch);
      throw taskError(error, `unpacking layer ${blobDigest} of ${layer.image}`);
    }
  }

  /** Notes that these are on the disk. */
  noteSynced(chainIds: Iterable<string>): void {
    for (const chainId of chainIds) {
      const layer = this.#table.get(chainId);
      if (layer !== undefined && layer.unsyncedSince !== '') this.#table.put(chainId, { ...layer, unsyncedSince: '' });
    }
  }

  unsynced(): string[] {
    return this.#table.values().flatMap(({ chainId, unsyncedSince }) => (unsyncedSince === '' ? [] : [chainId]));
  }

  /** Removes all that `isNeeded` does not want. */
  async sweep(isNeeded: (chainId: string) => boolean): Promise<number> {
    const unneeded = this.#table.values().filter(({ chainId }) => !isNeeded(chainId));
    for (const { chainId } of unneeded) {
      if (isNeeded(chainId)) continue; // by now
      this.#table.delete(chainId);
      await this.#scratch.discard(join(this.#folder, hexOf(chainId)));
    }
    return unneeded.length;
  }

  usage(): { bytes: number; inodes: number } {
    const sum = { bytes: 0, inodes: 0 };
    for (const layer of this.#table.values()) {
      sum.bytes += layer.bytes;
      sum.inodes += layer.inodes;
    }
    return sum;
  }
}
