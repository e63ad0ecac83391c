import { statfsSync } from 'node:fs';
import { DiskNearlyFull } from './errors.ts';

const bytesBetween = 64 * 1024 * 1024;
const filesBetween = 10_000;
const leastFreeBlocks = 0.05;
const leastFreeInodes = 0.02;

/** Stops what fills a disk before it is full: others write there, too. It looks now and then. */
export class DiskRoom {
  readonly #folder: string;
  readonly #look: typeof statfsSync;
  #bytes = 0;
  #files = 0;

  /** @param folder on the disk; looked up each time, so '.' works in another root */
  constructor(folder: string, look: typeof statfsSync = statfsSync) {
    this.#folder = folder;
    this.#look = look;
  }

  /** @throws DiskNearlyFull */
  takeBytes(count: number): void {
    this.#bytes += count;
    if (this.#bytes >= bytesBetween) this.#check();
  }

  /** @throws DiskNearlyFull */
  takeFile(): void {
    if (++this.#files >= filesBetween) this.#check();
  }

  #check(): void {
    this.#bytes = 0;
    this.#files = 0;
    const { blocks, bavail, files, ffree } = this.#look(this.#folder);
    if (bavail < blocks * leastFreeBlocks)
      throw new DiskNearlyFull(`less than ${leastFreeBlocks * 100} % of it is free`);
    // Some file systems have no fixed number of inodes, and say 0.
    if (ffree < files * leastFreeInodes)
      throw new DiskNearlyFull(`less than ${leastFreeInodes * 100} % of its inodes are free`);
  }
}
