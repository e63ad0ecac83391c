import { basename } from 'node:path';
import type { Logger } from 'pino';
import { Code, RpcError } from '../../grpc/index.ts';
import type { NativeAddon } from '../../linux/index.ts';
import { findProgram } from '../../oci/index.ts';
import type { Config, RuntimeConfig } from '../config/config.ts';
import { RuntimeProbes } from './runtime-probe.ts';

/** One runtime handler, as it is on this host. */
export interface ResolvedRuntime {
  readonly name: string;
  /** Absolute path of the shim's program. */
  readonly shimBinary: string;
  /** Whether that is our own shim. */
  readonly ours: boolean;
  /** Absolute path of the OCI runtime; '' where the shim has it. */
  readonly binary: string;
  /** Where the OCI runtime keeps its state. */
  readonly root: string;
  /** Whether the shim takes containerd.runc.v1.Options. */
  readonly takesRuncOptions: boolean;
}

export interface ResolvedRuntimes {
  /** Name of the handler for pods that name none; '' when no handler works. */
  readonly default: string;
  /** Why it is that one, or why there is none; for people. */
  readonly reason: string;
  readonly handlers: ReadonlyMap<string, ResolvedRuntime>;
  /** Handlers that cannot be used, and why. */
  readonly unusable: ReadonlyMap<string, string>;
}

export interface ResolveOptions {
  /** Absolute path of our own shim. */
  readonly shimBinary: string;
  /** PATH. */
  readonly searchPath: string;
  /** What programs inherit. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whether systemd makes the cgroups. */
  readonly systemdCgroup: boolean;
}

/** Best first, by the names of their programs; others come after. */
const preference = ['crun', 'runc'];

/**
 * Looks up the programs of all handlers and chooses the default: that of the configuration, else the first whose OCI runtime runs a
 * container on this host.
 */
export async function resolveRuntimes(
  config: Pick<Config, 'state' | 'runtimes'>,
  native: NativeAddon,
  log: Logger,
  options: ResolveOptions,
): Promise<ResolvedRuntimes> {
  const handlers = new Map<string, ResolvedRuntime>();
  const unusable = new Map<string, string>();
  for (const [name, handler] of Object.entries(config.runtimes.handlers)) {
    try {
      handlers.set(name, resolve(name, handler, config.state, options));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      unusable.set(name, why);
      log.warn({ runtime: name, why }, 'a runtime handler cannot be used');
    }
  }
  const choice =
    config.runtimes.default === ''
      ? await firstThatWorks(handlers, new RuntimeProbes(config.state, native, log, options))
      : configured(config.runtimes.default, handlers, unusable);
  log.info({ runtime: choice.default, why: choice.reason }, 'default runtime');
  return { ...choice, handlers, unusable };
}

/** @throws RpcError NOT_FOUND for a name that is none, FAILED_PRECONDITION for one that cannot be used here */
export function runtimeNamed(name: string, runtimes: ResolvedRuntimes): ResolvedRuntime {
  const wanted = name === '' ? runtimes.default : name;
  const found = runtimes.handlers.get(wanted);
  if (found !== undefined) return found;
  const why = wanted === '' ? runtimes.reason : runtimes.unusable.get(wanted);
  if (why !== undefined) throw new RpcError(Code.FailedPrecondition, `runtime handler "${wanted}": ${why}`);
  const names = [...runtimes.handlers.keys()].join(', ') || 'none';
  throw new RpcError(Code.NotFound, `no runtime handler "${wanted}": the configuration has ${names}`);
}

function resolve(
  name: string,
  { binary, shim, root }: RuntimeConfig,
  state: string,
  { shimBinary, searchPath }: ResolveOptions,
): ResolvedRuntime {
  const other = shim === '' ? undefined : findProgram(shim, searchPath);
  return {
    name,
    shimBinary: other ?? shimBinary,
    ours: other === undefined,
    binary: binary === '' && other !== undefined ? '' : findProgram(binary === '' ? name : binary, searchPath),
    root: root === '' ? `${state}/runtimes/${name}` : root,
    takesRuncOptions: other === undefined || /^containerd-shim-runc-v[0-9]+$/.test(basename(other)),
  };
}

function configured(
  name: string,
  handlers: ReadonlyMap<string, ResolvedRuntime>,
  unusable: ReadonlyMap<string, string>,
): { default: string; reason: string } {
  if (handlers.has(name)) return { default: name, reason: 'the configuration says so' };
  const why = unusable.get(name) ?? 'the configuration has no such handler';
  return { default: '', reason: `the default runtime "${name}" cannot be used: ${why}` };
}

async function firstThatWorks(
  handlers: ReadonlyMap<string, ResolvedRuntime>,
  probes: RuntimeProbes,
): Promise<{ default: string; reason: string }> {
  const rank = ({ binary }: ResolvedRuntime) => {
    const at = preference.indexOf(basename(binary));
    return at < 0 ? preference.length : at;
  };
  const candidates = [...handlers.values()].filter(({ ours }) => ours).sort((a, b) => rank(a) - rank(b));
  const refused: string[] = [];
  for (const runtime of candidates) {
    const failure = await probes.failureOf(runtime);
    const others = refused.length === 0 ? '' : `; ${refused.join('; ')}`;
    if (failure === '') return { default: runtime.name, reason: `${runtime.binary} works on this host${others}` };
    refused.push(`${runtime.binary} does not: ${failure}`);
  }
  const reason = refused.length === 0 ? 'no OCI runtime is installed: install crun or runc' : refused.join('; ');
  return { default: '', reason };
}
