import { execFile } from 'node:child_process';
import { mkdir, realpath, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isSystemError, type NativeAddon, unmountAllUnder } from '../../linux/index.ts';
import type { types } from '../../wire/index.ts';
import type { Layout } from './layout.ts';

const run = promisify(execFile);
const sharedFolderMode = 0o755;
const copyDeadlineMs = 120_000;
const removeDeadlineMs = 600_000;

/** A folder that stands in for a VOLUME of the image. */
export interface Volume {
  readonly hostPath: string;
  readonly containerPath: string;
}

/** Makes and removes what a container's root file system is put together from. */
export class ContainerRootfs {
  readonly #layout: Layout;
  readonly #native: NativeAddon;

  constructor(layout: Layout, native: NativeAddon) {
    this.#layout = layout;
    this.#native = native;
  }

  /**
   * Makes the container's bundle and its writable layer.
   * @param volumes paths of the image's volumes; each becomes a folder with what the image has there
   * @param layers the image's, topmost first
   */
  async prepare(id: string, volumes: readonly string[], layers: readonly string[]): Promise<Volume[]> {
    const writable = this.#layout.writableLayer(id);
    await Promise.all([
      mkdir(join(this.#layout.bundle(id), 'rootfs'), { recursive: true, mode: 0o711 }),
      mkdir(join(writable, 'work'), { recursive: true, mode: 0o711 }),
      mkdir(join(writable, 'upper'), { recursive: true, mode: sharedFolderMode }),
    ]);
    const made: Volume[] = [];
    for (const [index, containerPath] of volumes.entries()) {
      const hostPath = join(writable, 'volumes', String(index));
      await mkdir(hostPath, { recursive: true, mode: sharedFolderMode });
      made.push({ hostPath, containerPath });
    }
    if (made.length > 0) await this.#fill(id, made, layers);
    return made;
  }

  /** The mount that the shim makes of it. A read-only root is one too: the runtime makes mount points before it is read-only. */
  mounts(id: string, layers: readonly string[]): types.Mount[] {
    const writable = this.#layout.writableLayer(id);
    const options = [
      `lowerdir=${layers.join(':')}`,
      `upperdir=${join(writable, 'upper')}`,
      `workdir=${join(writable, 'work')}`,
    ];
    return [{ type: 'overlay', source: 'overlay', target: '', options }];
  }

  /** Removes bundle and writable layer, and mounts that are left in them. That they are gone is no error. */
  async remove(id: string): Promise<void> {
    const bundle = this.#layout.bundle(id);
    const writable = this.#layout.writableLayer(id);
    unmountAllUnder(bundle, this.#native);
    unmountAllUnder(writable, this.#native);
    await Promise.all([removeTree(bundle), removeTree(writable)]);
  }

  /** Copies what the image has where its volumes are, through a view of the whole image that is there only meanwhile. */
  async #fill(id: string, volumes: readonly Volume[], layers: readonly string[]): Promise<void> {
    const view = join(this.#layout.bundle(id), 'image');
    await mkdir(view, { mode: 0o711 });
    const empty = join(this.#layout.writableLayer(id), 'work');
    const lower = [...layers, ...(layers.length === 1 ? [empty] : [])].join(':');
    this.#native.mount('overlay', view, 'overlay', ['ro', 'nosuid', 'nodev', 'noexec', `lowerdir=${lower}`]);
    try {
      for (const { hostPath, containerPath } of volumes) await copyVolume(view, containerPath, hostPath);
    } finally {
      unmountAllUnder(view, this.#native);
    }
    await rmdir(view);
  }
}

/** A path with a link in it is left empty: where it leads is the image's choice, not ours. */
async function copyVolume(view: string, containerPath: string, hostPath: string): Promise<void> {
  const source = join(view, join('/', containerPath));
  try {
    if ((await realpath(source)) !== join(await realpath(view), join('/', containerPath))) return;
    // cp(1) keeps owners, attributes and links, which Node's own does not.
    await run('cp', ['--archive', '--no-target-directory', '--', source, hostPath], { timeout: copyDeadlineMs });
  } catch (error) {
    if (!isSystemError(error, 'ENOENT', 'ENOTDIR')) throw error;
  }
}

/** A container can make folders that are deeper than a path is long, which Node cannot remove. */
async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (!isSystemError(error, 'ENAMETOOLONG', 'EMFILE', 'ENOTEMPTY')) throw error;
    await run('rm', ['-rf', '--one-file-system', '--', path], { timeout: removeDeadlineMs });
  }
}
