import { availableParallelism } from 'node:os';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError } from '../../linux/index.ts';
import { findProgram } from '../../oci/index.ts';
import { closest } from './closest.ts';
import type { Config, RuntimeConfig } from './config.ts';
import { ConfigError } from './errors.ts';
import { type FileContent, parseConfig } from './parse.ts';
import { type SettingKey, settings, type Values } from './settings.ts';

export const defaultConfigFile = '/etc/berth/config.toml';

/** What the command line says; what is undefined was not said. */
export interface ConfigFlags {
  readonly root?: string | undefined;
  readonly state?: string | undefined;
  readonly socket?: string | undefined;
  readonly cniConfDir?: string | undefined;
  readonly cniBinDirs?: readonly string[] | undefined;
  readonly registriesConf?: string | undefined;
  readonly defaultRuntime?: string | undefined;
  readonly logLevel?: string | undefined;
}

const flagKeys = {
  root: { key: 'root', flag: '--root' },
  state: { key: 'state', flag: '--state' },
  socket: { key: 'socket', flag: '--socket' },
  cniConfDir: { key: 'network.conf_dir', flag: '--cni-conf-dir' },
  cniBinDirs: { key: 'network.bin_dirs', flag: '--cni-bin-dir' },
  registriesConf: { key: 'images.registries_conf', flag: '--registries-conf' },
  defaultRuntime: { key: 'runtimes.default', flag: '--default-runtime' },
  logLevel: { key: 'log.level', flag: '--log-level' },
} as const satisfies Record<keyof ConfigFlags, { key: SettingKey; flag: string }>;

export interface LoadOptions {
  /** The file that was named; undefined: the default one, which may be missing. */
  readonly file: string | undefined;
  readonly flags: ConfigFlags;
  /** PATH, where OCI runtimes are looked for when none is configured. */
  readonly searchPath: string;
}

/**
 * The configuration in force: the flags, then the file, then the defaults.
 * @throws {ConfigError} with all that is wrong
 */
export function loadConfig({ file, flags, searchPath }: LoadOptions): Config {
  const content = readFile(file);
  const values = { ...fallbacks(), ...content.values, ...flagValues(flags) };
  const handlers = Object.keys(content.handlers).length > 0 ? content.handlers : foundRuntimes(searchPath);
  checkDefaultRuntime(values['runtimes.default'], handlers);
  return configOf(values, handlers);
}

/**
 * Looks a file through; gives its name.
 * @throws {ConfigError} with all that is wrong in it, or when it is not there
 */
export function checkConfigFile(file: string = defaultConfigFile): string {
  readFile(file);
  return file;
}

/** @throws {ConfigError} when it cannot be read, or is wrong */
function readFile(file: string | undefined): FileContent {
  const path = file ?? defaultConfigFile;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (file === undefined && isSystemError(error, 'ENOENT')) return { values: {}, handlers: {} };
    const advice = '"berthd config default" prints one to begin with';
    throw new ConfigError([`cannot read the configuration: ${(error as Error).message}; ${advice}`], { cause: error });
  }
  return parseConfig(text, path);
}

function fallbacks(): Values {
  return Object.fromEntries(
    Object.entries(settings).map(([key, { fallback }]) => [key, fallback]),
  ) as unknown as Values;
}

function flagValues(flags: ConfigFlags): Partial<Values> {
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, { key, flag }] of Object.entries(flagKeys)) {
    const value = flags[name as keyof ConfigFlags];
    if (value === undefined) continue;
    if (settings[key].accepts(value)) values[key] = value;
    else problems.push(`${flag} must be ${settings[key].expected}, not ${JSON.stringify(value)}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return values;
}

function foundRuntimes(searchPath: string): Record<string, RuntimeConfig> {
  const found: Record<string, RuntimeConfig> = {};
  for (const name of ['crun', 'runc']) {
    try {
      found[name] = { binary: findProgram(name, searchPath), shim: '', root: '' };
    } catch {
      // It is not installed, and was not asked for.
    }
  }
  return found;
}

function checkDefaultRuntime(name: string, handlers: Readonly<Record<string, RuntimeConfig>>): void {
  const names = Object.keys(handlers);
  if (name === '' || names.includes(name)) return;
  const meant = closest(name, names);
  const there = names.length === 0 ? 'there is none' : `there are ${names.join(', ')}`;
  const advice = meant === undefined ? `add [runtimes.${name}]` : `did you mean ${meant}?`;
  throw new ConfigError([`the default runtime "${name}" is no configured runtime (${there}): ${advice}`]);
}

function configOf(values: Values, handlers: Readonly<Record<string, RuntimeConfig>>): Config {
  return {
    root: values.root,
    state: values.state,
    socket: values.socket === '' ? join(values.state, 'berth.sock') : values.socket,
    log: { level: values['log.level'] },
    runtimes: { default: values['runtimes.default'], handlers },
    shimPoolSize: values['shims.pool_size'],
    network: {
      confDir: values['network.conf_dir'],
      binDirs: values['network.bin_dirs'],
      confTemplate: values['network.conf_template'],
      maxConfNum: values['network.max_conf_num'],
    },
    images: {
      registriesConf: values['images.registries_conf'],
      policy: values['images.policy'],
      authFile: values['images.auth_file'],
      unpackConcurrency: values['images.unpack_concurrency'] || availableParallelism(),
      pullProgressTimeoutSeconds: values['images.pull_progress_timeout_seconds'],
    },
    cgroups: { driver: values['cgroups.driver'] },
    security: { seccompProfile: values['security.seccomp_profile'] },
    limits: {
      execSyncOutputBytes: values['limits.exec_sync_output_bytes'],
      eventsKept: values['limits.events_kept'],
      shutdownSeconds: values['limits.shutdown_seconds'],
    },
  };
}
