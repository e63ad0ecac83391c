import { mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import { unlinkQuietly } from '../../linux/index.ts';
import { checkDigest } from './document.ts';
import { digestOf, hexOf, isDigest } from './digest.ts';

/** Blobs by digest, as an OCI image layout has them: FOLDER/sha256/HEX. skopeo writes there too. */
export class Blobs {
  /** What skopeo calls the shared blob folder. */
  readonly folder: string;
  readonly #files: string;

  constructor(folder: string) {
    this.folder = folder;
    this.#files = join(folder, 'sha256');
    mkdirSync(this.#files, { recursive: true, mode: 0o700 });
  }

  path(digest: string): string {
    return join(this.#files, hexOf(digest));
  }

  /** Whether it is there with that many bytes. One of another size is damaged, and is removed. */
  has(digest: string, size: number): boolean {
    const stats = statSync(this.path(digest), { throwIfNoEntry: false });
    if (stats === undefined) return false;
    if (stats.isFile() && stats.size === size) return true;
    this.delete(digest);
    return false;
  }

  /** Bytes of it, by which it is known to be there. */
  async size(digest: string): Promise<number> {
    return (await stat(this.path(digest))).size;
  }

  /**
   * A small one.
   * @param mostBytes one with more is not read: it may be a layer that something calls a document
   * @throws RpcError FAILED_PRECONDITION when it is larger; DATA_LOSS when it is damaged; it is removed then
   */
  async read(digest: string, mostBytes: number): Promise<Buffer> {
    const size = await this.size(digest);
    if (size > mostBytes)
      throw new RpcError(
        Code.FailedPrecondition,
        `the blob ${digest} has ${size} bytes: it is no document of an image`,
      );
    const content = await readFile(this.path(digest));
    try {
      checkDigest(content, digest, `the blob ${digest}`);
    } catch (error) {
      this.delete(digest);
      throw error;
    }
    return content;
  }

  /** Keeps a small one, made durable; its digest. */
  async put(content: Buffer, scratch: string): Promise<string> {
    const digest = digestOf(content);
    if (this.has(digest, content.length)) return digest;
    const file = join(scratch, hexOf(digest));
    writeFileSync(file, content, { mode: 0o600 });
    await this.adopt(file, digest);
    return digest;
  }

  /** Takes a file whose content is known to have that digest. */
  async adopt(file: string, digest: string): Promise<void> {
    const opened = await open(file, 'r');
    try {
      await opened.sync();
    } finally {
      await opened.close();
    }
    renameSync(file, this.path(digest));
  }

  delete(digest: string): void {
    unlinkQuietly(this.path(digest));
  }

  /** Of all files that are there; what is no blob is listed by the name that it has. */
  list(): string[] {
    return readdirSync(this.#files).map((name) => (isDigest(`sha256:${name}`) ? `sha256:${name}` : name));
  }

  /** Removes all that `isNeeded` does not want. */
  sweep(isNeeded: (digest: string) => boolean): number {
    const unneeded = this.list().filter((digest) => !isNeeded(digest));
    for (const digest of unneeded) unlinkQuietly(isDigest(digest) ? this.path(digest) : join(this.#files, digest));
    return unneeded.length;
  }

  async usage(): Promise<{ bytes: number; inodes: number }> {
    const sizes = await Promise.all(
      this.list().map((digest) =>
        stat(join(this.#files, digest.replace(/^sha256:/, ''))).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    return { bytes: sizes.reduce((sum, size) => sum + size, 0), inodes: sizes.length };
  }
}
