import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Place, thisMachine } from './mount-namespace.ts';
import { type Scratch, markVariable } from './scratch.ts';
import { until } from './until.ts';

const startMilliseconds = 10_000;
const saidAtMost = 64 * 1024;

export interface RegistryOptions {
  /** For its configuration. */
  folder: string;
  /** Its content; default: a folder of its own below `folder`. */
  storage?: string;
  /** Who may come in: lines of htpasswd(1), with bcrypt. Default: everybody. */
  htpasswd?: string;
  /** Default: one that is free. */
  port?: number;
  /** Whose loopback it listens on. Default: this machine's. */
  place?: Place;
  /** Whose process it is, for a test that looks at what it has left. */
  scratch?: Scratch;
}

/** Debian's docker-registry on loopback, without TLS. */
export class Registry implements AsyncDisposable {
  /** Host and port, as the first part of an image's name. */
  readonly address: string;
  readonly #process: ChildProcess;

  private constructor(address: string, child: ChildProcess) {
    this.address = address;
    this.#process = child;
  }

  /** It serves when this returns. */
  static async start(options: RegistryOptions): Promise<Registry> {
    const { folder, storage = join(folder, 'storage'), htpasswd, port = 0, place = thisMachine, scratch } = options;
    mkdirSync(storage, { recursive: true });
    const config = {
      version: '0.1',
      log: { level: 'info', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${port}` },
    };
    const path = join(folder, 'registry.yml');
    const passwords = join(folder, 'htpasswd');
    if (htpasswd !== undefined) writeFileSync(passwords, htpasswd);
    const auth = htpasswd === undefined ? {} : { auth: { htpasswd: { realm: 'registry', path: passwords } } };
    writeFileSync(path, JSON.stringify({ ...config, ...auth })); // YAML takes JSON
    const env = { PATH: process.env['PATH'], ...(scratch && { [markVariable]: scratch.mark }) };
    const child = spawn(...place.wrap('docker-registry', ['serve', path]), {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    let ended = false;
    child.stderr.on('data', (bytes: Buffer) => (said = (said + bytes.toString()).slice(0, saidAtMost)));
    child.once('error', () => (ended = true)).once('exit', () => (ended = true));
    const address = await until(
      'the registry serves',
      () => /listening on (127\.0\.0\.1:\d+)/.exec(said)?.[1] ?? (ended ? 'ended' : undefined),
      startMilliseconds,
    );
    if (address === 'ended') throw new Error(`docker-registry ended: ${said}`);
    return new Registry(address, child);
  }

  get pid(): number {
    return this.#process.pid as number;
  }

  async close(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Who serves images by which name: a registry's name, or the beginning of a path there, and host and port of the registry without TLS
 * that has them at the same paths.
 */
export type Mirrors = Readonly<Record<string, string>>;

/** registries.conf(5) that says so. */
export function registriesConf(mirrors: Mirrors): string {
  const entries = Object.entries(mirrors).map(
    ([prefix, location]) => `[[registry]]\nprefix = "${prefix}"\nlocation = "${location}"\ninsecure = true\n`,
  );
  return ['unqualified-search-registries = []\n', ...entries].join('\n');
}
