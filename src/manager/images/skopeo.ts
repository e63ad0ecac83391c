import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Code, RpcError } from '../../grpc/index.ts';
import { mostConfigBytes, mostManifestBytes } from './document.ts';
import { skopeoError } from './skopeo-errors.ts';

/** How one pull reaches its registry. */
export interface Access {
  /** containers-auth.json(5); undefined: nobody is told who asks. */
  authFile: string | undefined;
  signal: AbortSignal;
}

export interface CopyOptions extends Access {
  /** An empty folder, for what is under way. */
  layout: string;
  blobs: string;
  /** Called often; gives a number that differs when there was progress. What it throws ends the call. */
  onTick: () => number;
}

export interface SkopeoOptions {
  /** containers-registries.conf(5); '' for the host's. */
  registriesConf: string;
  /** containers-policy.json(5) */
  policy: string;
  /** No progress for so long ends a call. */
  stallSeconds: number;
}

const tickMilliseconds = 50;
const mostErrorCharacters = 16 * 1024;

/** Runs skopeo(1). A call that fails throws the RpcError that its message means; the process is gone when a call returns. */
export class Skopeo {
  readonly #options: SkopeoOptions;

  constructor(options: SkopeoOptions) {
    this.#options = options;
  }

  /** The manifest or index, as the registry has it; what it should be is the caller's to check. */
  async manifest(reference: string, access: Access): Promise<Buffer> {
    return await this.#run(['inspect', '--raw', ...credentialFlags(access, '')], reference, access, mostManifestBytes);
  }

  /** The image's configuration, as the registry has it. */
  async config(reference: string, access: Access): Promise<Buffer> {
    const flags = ['inspect', '--raw', '--config', ...credentialFlags(access, '')];
    const printed = await this.#run(flags, reference, access, mostConfigBytes);
    // skopeo ends it with a line feed of its own.
    return printed.at(-1) === 0x0a ? printed.subarray(0, -1) : printed;
  }

  /** Brings all blobs of an image that are not there, after the policy has been asked. */
  async copy(reference: string, options: CopyOptions): Promise<void> {
    const { layout, blobs } = options;
    const flags = [
      'copy',
      '--quiet',
      '--remove-signatures',
      '--dest-oci-accept-uncompressed-layers',
      ...credentialFlags(options, 'src-'),
    ];
    await this.#run(
      [...flags, '--dest-shared-blob-dir', blobs],
      reference,
      options,
      64 * 1024,
      [`oci:${layout}`],
      options.onTick,
    );
  }

  async #run(
    flags: string[],
    reference: string,
    access: Access,
    mostBytes: number,
    more: string[] = [],
    onTick?: () => number,
  ): Promise<Buffer> {
    const { registriesConf, policy, stallSeconds } = this.#options;
    access.signal.throwIfAborted();
    const common = ['--policy', policy, ...(registriesConf === '' ? [] : ['--registries-conf', registriesConf])];
    // It ends with the daemon, however that ends.
    const wrapper = ['--pdeathsig', 'KILL', '--', 'skopeo'];
    const child = spawn('setpriv', [...wrapper, ...common, ...flags, '--', `docker://${reference}`, ...more], {
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output: Buffer[] = [];
    let bytes = 0;
    let said = '';
    let failure: Error | undefined;
    const stop = (error: Error) => {
      failure ??= error;
      child.kill('SIGKILL');
    };
    const abort = () => stop(access.signal.reason as Error);
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= mostBytes) output.push(chunk);
      else
        stop(
          new RpcError(
            Code.FailedPrecondition,
            `the registry's answer for ${reference} is longer than ${mostBytes} bytes`,
          ),
        );
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-mostErrorCharacters);
    });
    access.signal.addEventListener('abort', abort, { once: true });
    let progress = 0;
    let moved = performance.now();
    const timer = setInterval(() => {
      let now = bytes + said.length;
      try {
        now += onTick?.() ?? 0;
      } catch (error) {
        stop(error as Error);
      }
      if (now !== progress) moved = performance.now();
      progress = now;
      if (performance.now() - moved > stallSeconds * 1000) {
        stop(
          new RpcError(
            Code.DeadlineExceeded,
            `pulling ${reference}: nothing has come from the registry for ${stallSeconds} s`,
          ),
        );
      }
    }, tickMilliseconds);
    try {
      const [code] = (await once(child, 'close')) as [number | null];
      if (failure !== undefined) throw failure;
      onTick?.();
      if (code !== 0) throw skopeoError(reference, said);
      return Buffer.concat(output);
    } finally {
      clearInterval(timer);
      access.signal.removeEventListener('abort', abort);
    }
  }
}

function credentialFlags({ authFile }: Access, prefix: 'src-' | ''): string[] {
  return authFile === undefined ? [`--${prefix}no-creds`] : ['--authfile', authFile];
}
