import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError, unlinkQuietly, unmountAllUnder, type NativeAddon } from '../../linux/index.ts';
import { socketPathOf, type ShimInfo } from './shim-info.ts';

const sandboxIdAnnotation = 'io.kubernetes.cri.sandbox-id';
const containerTypeAnnotation = 'io.kubernetes.cri.container-type';
const ociVersion = '1.0.2';

/** What a shim reads of a sandbox's own configuration. */
export interface SandboxSpec {
  readonly annotations: Readonly<Record<string, string>>;
  readonly hostname?: string;
  readonly [key: string]: unknown;
}

/** STATE/sandboxes/ID: the bundle of a sandbox's shim. */
export class SandboxFolder {
  readonly path: string;
  readonly #id: string;
  readonly #native: NativeAddon;

  constructor(stateFolder: string, id: string, native: NativeAddon) {
    this.path = join(sandboxesFolder(stateFolder), id);
    this.#id = id;
    this.#native = native;
  }

  /** The FIFO through which a shim says what it has to say. */
  get logPath(): string {
    return join(this.path, 'log');
  }

  /** Where the stdio of containers of other shims is. */
  get ioFolder(): string {
    return join(this.path, 'io');
  }

  make(): void {
    mkdirSync(this.path, { recursive: true, mode: 0o711 });
  }

  /** The annotations always say which sandbox this is: shims tell by them who shares one. */
  writeSpec(spec: SandboxSpec): void {
    const { annotations, ...rest } = spec;
    const own = { [sandboxIdAnnotation]: this.#id, [containerTypeAnnotation]: 'sandbox' };
    const whole = { ociVersion, ...rest, annotations: { ...annotations, ...own } };
    writeFileSync(join(this.path, 'config.json'), JSON.stringify(whole), { mode: 0o600 });
  }

  /** The address that the shim's `start` has written; '' when it has not. */
  get address(): string {
    try {
      return readFileSync(join(this.path, 'address'), 'utf8').trim();
    } catch {
      return '';
    }
  }

  /** Unmounts and removes all that is there, and the socket of its shim, which must have ended. Idempotent. */
  remove({ address }: Pick<ShimInfo, 'address'>): void {
    const socket = socketPathOf(address);
    if (socket !== undefined) unlinkQuietly(socket);
    unmountAllUnder(this.path, this.#native);
    rmSync(this.path, { recursive: true, force: true });
  }
}

function sandboxesFolder(stateFolder: string): string {
  return join(stateFolder, 'sandboxes');
}

/** The ids of all folders that are there. */
export function sandboxFolders(stateFolder: string): string[] {
  try {
    return readdirSync(sandboxesFolder(stateFolder)).filter((name) => /^[0-9a-f]{64}$/.test(name));
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return [];
    throw error;
  }
}
