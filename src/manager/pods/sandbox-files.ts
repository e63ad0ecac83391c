import { mkdir, rm, writeFile } from 'node:fs/promises';
import { type NativeAddon, unmountAllUnder, unpinNamespace } from '../../linux/index.ts';
import { sandboxFiles } from '../spec/index.ts';
import type { Layout } from './layout.ts';
import type { SandboxRecord } from './sandbox-record.ts';

const folderMode = 0o711;
const fileMode = 0o644;

/** What a sandbox has on disk and in the kernel besides its shim: files that its containers see, and its network namespace. */
export class SandboxFiles {
  readonly #layout: Layout;
  readonly #native: NativeAddon;

  constructor(layout: Layout, native: NativeAddon) {
    this.#layout = layout;
    this.#native = native;
  }

  /** Makes its network namespace, in which `lo` is up. */
  makeNetwork({ netnsPath }: SandboxRecord): void {
    if (netnsPath !== '') this.#native.pinNewNamespace('net', netnsPath);
  }

  /** Writes the files that its containers see. */
  async write({ id, config, hostname }: SandboxRecord): Promise<void> {
    const { hosts, hostname: name, resolvConf } = sandboxFiles(config, hostname);
    await mkdir(this.#layout.sandbox(id), { recursive: true, mode: folderMode });
    await Promise.all([
      writeFile(this.#layout.sandboxFile(id, 'hosts'), hosts, { mode: fileMode }),
      writeFile(this.#layout.sandboxFile(id, 'hostname'), name, { mode: fileMode }),
      writeFile(this.#layout.sandboxFile(id, 'resolv.conf'), resolvConf, { mode: fileMode }),
    ]);
  }

  /** Writes the hosts file anew, with the addresses that the pod has got. */
  async writeHosts({ id, config, hostname }: SandboxRecord, ips: readonly string[]): Promise<void> {
    const { hosts } = sandboxFiles(config, hostname, ips);
    await writeFile(this.#layout.sandboxFile(id, 'hosts'), hosts, { mode: fileMode });
  }

  /** Gives its network namespace up. That there is none is no error. */
  releaseNetwork(id: string): void {
    unpinNamespace(this.#layout.networkNamespace(id), this.#native);
  }

  /** Removes all that is left of it. */
  async remove(id: string): Promise<void> {
    this.releaseNetwork(id);
    const folder = this.#layout.sandbox(id);
    unmountAllUnder(folder, this.#native);
    await rm(folder, { recursive: true, force: true });
  }
}
