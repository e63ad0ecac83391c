import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { type NativeAddon, unmountAllUnder } from '../../linux/index.ts';
import { makePauseRootfs, pauseSpec } from './pause-container.ts';
import { runProgram } from './program.ts';
import type { ResolvedRuntime, ResolveOptions } from './runtimes.ts';

const commandMs = 10_000;
const probeId = 'berth-probe';

interface ProbeResult {
  binary: string;
  /** What it was then: it is tried again when it was replaced. */
  mtimeMs: number;
  size: number;
  systemdCgroup: boolean;
  /** '' when it works. */
  failure: string;
}

/**
 * Finds out whether OCI runtimes work on this host, by making, starting and deleting a container with each. What was found is kept in
 * STATE until the next boot.
 */
export class RuntimeProbes {
  readonly #folder: string;
  readonly #native: NativeAddon;
  readonly #log: Logger;
  readonly #options: ResolveOptions;

  constructor(stateFolder: string, native: NativeAddon, log: Logger, options: ResolveOptions) {
    this.#folder = join(stateFolder, 'runtimes');
    this.#native = native;
    this.#log = log;
    this.#options = options;
  }

  /** Why it does not work; '' when it does. */
  async failureOf({ binary }: ResolvedRuntime): Promise<string> {
    const { mtimeMs, size } = statSync(binary);
    const key = { binary, mtimeMs, size, systemdCgroup: this.#options.systemdCgroup };
    const isIt = (one: ProbeResult) =>
      Object.entries(key).every(([name, value]) => one[name as keyof ProbeResult] === value);
    const known = this.#read();
    const found = known.find(isIt);
    if (found !== undefined) return found.failure;
    const failure = await this.#try(binary);
    this.#log.debug({ binary, failure }, 'OCI runtime tried');
    this.#write([...known.filter((one) => one.binary !== binary), { ...key, failure }]);
    return failure;
  }

  /** A name of its own for each program, so that what a probe that was cut off has left is found and removed by the next. */
  async #try(binary: string): Promise<string> {
    const bundle = join(this.#folder, `probe${binary.replaceAll('/', '-')}`);
    const flags = ['--root', join(bundle, 'root'), ...(this.#options.systemdCgroup ? ['--systemd-cgroup'] : [])];
    const run = async (...args: string[]) => {
      const options = { cwd: bundle, env: this.#options.environment, timeoutMs: commandMs };
      const { code, stderr } = await runProgram(binary, [...flags, ...args], options);
      return code === 0 ? '' : lastLine(stderr) || `exit code ${code}`;
    };
    const remove = async () => {
      mkdirSync(bundle, { recursive: true, mode: 0o700 });
      try {
        await run('delete', '--force', probeId);
      } catch (error) {
        this.#log.debug({ err: error, binary }, 'removing a probe container');
      }
      unmountAllUnder(bundle, this.#native);
      rmSync(bundle, { recursive: true, force: true });
    };
    await remove();
    try {
      mkdirSync(bundle, { recursive: true, mode: 0o700 });
      makePauseRootfs(bundle);
      const cgroupsPath = this.#options.systemdCgroup
        ? `system.slice:berth:${process.pid}`
        : `/${probeId}-${process.pid}`;
      // The namespaces that members of a pod have, and a network of its own that is not connected.
      const spec = pauseSpec(this.#options.shimBinary, {
        hostname: probeId,
        netnsPath: '',
        annotations: {},
        cgroupsPath,
      });
      writeFileSync(join(bundle, 'config.json'), JSON.stringify({ ociVersion: '1.0.2', ...spec }));
      return (await run('create', '--bundle', bundle, probeId)) || (await run('start', probeId));
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      await remove();
    }
  }

  #read(): ProbeResult[] {
    try {
      const { bootId: then, results } = JSON.parse(readFileSync(this.#file, 'utf8')) as {
        bootId: string;
        results: ProbeResult[];
      };
      return then === bootId() ? results : [];
    } catch {
      return [];
    }
  }

  #write(results: ProbeResult[]): void {
    mkdirSync(this.#folder, { recursive: true, mode: 0o711 });
    writeFileSync(`${this.#file}.new`, JSON.stringify({ bootId: bootId(), results }));
    renameSync(`${this.#file}.new`, this.#file);
  }

  get #file(): string {
    return join(this.#folder, 'probes.json');
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** Runtimes log in several forms; the last line says what went wrong. */
function lastLine(text: string): string {
  const line = text.trim().split('\n').at(-1) ?? '';
  return (/msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1] ?? line).slice(0, 300);
}
