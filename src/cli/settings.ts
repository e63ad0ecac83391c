import { readFile } from 'node:fs/promises';
import type { Settings } from './context.ts';
import { Failure, isSystemError, messageOf, UsageError } from './failure.ts';
import type { OptionValues } from './options.ts';
import { parseDuration } from './time.ts';

export const defaultSocket = '/run/berth/berth.sock';
const defaultConfigFile = '/etc/crictl.yaml';

export const globalOptions = {
  'runtime-endpoint': {
    type: 'text',
    short: 'r',
    value: 'SOCKET',
    help: `where the server listens (default ${defaultSocket})`,
  },
  'image-endpoint': { type: 'text', short: 'i', value: 'SOCKET', help: 'ignored: one server does both' },
  timeout: {
    type: 'duration',
    short: 't',
    help: 'how long an answer may take (default 30s; 5m where things are made)',
  },
  config: { type: 'text', short: 'c', value: 'FILE', help: `configuration (default ${defaultConfigFile})` },
  debug: { type: 'flag', short: 'D', help: 'say on stderr what is called' },
  help: { type: 'flag', short: 'h', help: 'show help; with a verb: of that verb' },
  version: { type: 'flag', short: 'v', help: 'show the version of berthctl' },
} as const;

/**
 * Command line before environment before file before default.
 * @throws {Failure} when a configuration file was named and cannot be read, or is wrong
 */
export async function settle(
  options: OptionValues<typeof globalOptions>,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<Settings> {
  const file = await readSettings(options.config ?? environment['CRI_CONFIG_FILE']);
  const endpoint = [
    options['runtime-endpoint'],
    environment['CONTAINER_RUNTIME_ENDPOINT'],
    textOf(file, 'runtime-endpoint'),
  ].find((one) => one !== undefined && one !== '');
  const timeoutMs = options.timeout ?? durationOf(file['timeout']);
  return {
    socket: socketOf(endpoint ?? defaultSocket),
    timeoutMs: timeoutMs !== undefined && timeoutMs > 0 ? timeoutMs : undefined,
    debug: options.debug || file['debug'] === true,
    pullImageOnCreate: file['pull-image-on-create'] === true,
    disablePullOnRun: file['disable-pull-on-run'] === true,
  };
}

/**
 * The socket's path of an endpoint: "unix:///run/x.sock", "unix:/run/x.sock" or a path.
 * @throws {UsageError} for anything else
 */
export function socketOf(endpoint: string): string {
  const path = endpoint.replace(/^unix:(\/\/)?/, '');
  if (!path.startsWith('/')) {
    throw new UsageError(`"${endpoint}" is no unix socket`, 'such as unix:///run/berth/berth.sock');
  }
  return path;
}

async function readSettings(named: string | undefined): Promise<Record<string, unknown>> {
  const path = named ?? defaultConfigFile;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (named === undefined && isSystemError(error, 'ENOENT', 'EACCES', 'ENOTDIR')) return {};
    throw new Failure(`cannot read the configuration ${path}: ${messageOf(error)}`);
  }
  const { parse } = await import('yaml');
  try {
    const content: unknown = parse(text);
    return typeof content === 'object' && content !== null ? (content as Record<string, unknown>) : {};
  } catch (error) {
    throw new Failure(`cannot read the configuration ${path}: ${messageOf(error)}`, { next: 'it must be YAML' });
  }
}

function textOf(file: Record<string, unknown>, key: string): string | undefined {
  const value = file[key];
  return typeof value === 'string' ? value : undefined;
}

function durationOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value * 1000;
  return typeof value === 'string' ? parseDuration(value) : undefined;
}
