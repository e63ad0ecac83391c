import type { LevelWithSilent } from 'pino';
import type { Config } from './config.ts';

/** One key of the file: what it may hold, what it holds when it is absent, and what is said of it. */
export interface Setting<T> {
  readonly fallback: T;
  /** What the default file shows, where that is more telling than the fallback. */
  readonly shown?: T;
  readonly about: readonly string[];
  /** For errors, such as "an absolute path". */
  readonly expected: string;
  /** Whether a value of the file is one. */
  accepts(value: unknown): boolean;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const isPath = (value: unknown): boolean => isText(value) && value.startsWith('/') && !value.includes('\0');

function path(fallback: string, ...about: string[]): Setting<string> {
  return { fallback, about, expected: 'an absolute path', accepts: isPath };
}

function optionalPath(about: string[], shown?: string): Setting<string> {
  const accepts = (value: unknown) => value === '' || isPath(value);
  return { fallback: '', about, expected: 'an absolute path, or ""', accepts, ...(shown !== undefined && { shown }) };
}

function paths(fallback: readonly string[], ...about: string[]): Setting<readonly string[]> {
  const accepts = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isPath);
  return { fallback, about, expected: 'a list of absolute paths', accepts };
}

function text(fallback: string, ...about: string[]): Setting<string> {
  return { fallback, about, expected: 'a string', accepts: isText };
}

function choice<T extends string>(choices: readonly T[], fallback: T, ...about: string[]): Setting<T> {
  const expected = `one of ${choices.map((one) => JSON.stringify(one)).join(', ')}`;
  return { fallback, about, expected, accepts: (value) => (choices as readonly unknown[]).includes(value) };
}

function count(fallback: number, least: number, most: number, ...about: string[]): Setting<number> {
  const accepts = (value: unknown) => Number.isInteger(value) && Number(value) >= least && Number(value) <= most;
  return { fallback, about, expected: `a whole number from ${least} to ${most}`, accepts };
}

export const logLevels = [
  'trace',
  'debug',
  'info',
  'warn',
  'error',
  'fatal',
  'silent',
] as const satisfies readonly LevelWithSilent[];

/** Every key but those of [runtimes.NAME], by its path in the file. */
export const settings = {
  root: path('/var/lib/berth', 'Content that lasts: images, writable layers, the store.'),
  state: path('/run/berth', 'What lasts until the next boot: sockets, bundles, network namespaces.'),
  socket: optionalPath(['Where CRI is served. Default: berth.sock in `state`.'], '/run/berth/berth.sock'),
  'log.level': choice<LevelWithSilent>(
    logLevels,
    'info',
    'How much is logged: trace, debug, info, warn, error, fatal or silent. `berthctl log-level` changes it until the next start.',
  ),
  'runtimes.default': text(
    '',
    'The runtime of pods that name none: a NAME of [runtimes.NAME]. Default: what works on this host, crun before runc.',
  ),
  'shims.pool_size': count(1, 0, 64, 'How many shims wait, started, for the next pod.'),
  'network.conf_dir': path(
    '/etc/cni/net.d',
    'Where CNI configuration is; the first file by name counts, and changes are noticed.',
  ),
  'network.bin_dirs': paths(['/opt/cni/bin', '/usr/lib/cni'], 'Where CNI plugins are; searched in this order.'),
  'network.conf_template': optionalPath([
    'A template of the CNI configuration, filled in with the pod CIDR when kubelet tells it. Default: none.',
  ]),
  'network.max_conf_num': count(1, 1, 100, 'How many configurations of `conf_dir` a pod is attached to.'),
  'images.registries_conf': optionalPath([
    "containers-registries.conf(5): mirrors, short names, insecure registries. Default: the host's own.",
  ]),
  'images.policy': optionalPath([
    "containers-policy.json(5): which signatures are asked for. Default: the host's own; where it has none, any image is taken.",
  ]),
  'images.auth_file': optionalPath(['containers-auth.json(5): credentials for pulls that bring none. Default: none.']),
  'images.unpack_concurrency': count(0, 0, 256, 'Layers unpacked at once. 0: the number of processors.'),
  'images.pull_progress_timeout_seconds': count(60, 1, 86_400, 'A pull that gets nothing for so long fails.'),
  'cgroups.driver': choice<Config['cgroups']['driver']>(
    ['', 'cgroupfs', 'systemd'],
    '',
    '"cgroupfs" or "systemd". Default: systemd where it is the init and cgroups are v2, else cgroupfs.',
  ),
  'security.seccomp_profile': optionalPath([
    'The profile that RuntimeDefault means. Default: that of Debian: /usr/share/containers/seccomp.json.',
  ]),
  'limits.exec_sync_output_bytes': count(
    16 * 1024 * 1024,
    1024,
    1024 * 1024 * 1024,
    'Bytes of stdout, and of stderr, that ExecSync keeps; the rest is dropped.',
  ),
  'limits.events_kept': count(100_000, 100, 100_000_000, 'Events kept for subscribers that were away.'),
  'limits.shutdown_seconds': count(10, 0, 3600, 'How long running calls have to end when berthd is told to stop.'),
} as const;

export type SettingKey = keyof typeof settings;

/** What each key holds. */
export type Values = { [Key in SettingKey]: (typeof settings)[Key] extends Setting<infer T> ? T : never };

/** The keys of one [runtimes.NAME]. */
export const runtimeSettings = {
  binary: text('', 'An OCI runtime under our shim: a name in PATH or an absolute path.'),
  shim: text('', 'Instead: another containerd shim v2 binary, a name in PATH or an absolute path.'),
  root: optionalPath(['Where the OCI runtime keeps its state. Default: below `state`.']),
} as const;

/** What a [runtimes.NAME] may be called: it becomes the name of a folder, and kubelet's RuntimeClass handler. */
export const runtimeName = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/;
