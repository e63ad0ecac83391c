import { join } from 'node:path';
import { findProgram, RuntimeError } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import { holds, runc, runtimeOptions, unpackAny, type protobuf } from '../wire/index.ts';
import type { ShimConfig } from './config.ts';
import type { RuntimeRecord } from './record.ts';

/** Where OCI runtimes keep their state by default: the folder that containerd's own shim uses, so that its tools find it. */
const defaultRoot = '/run/containerd/runc';

/**
 * Reads the `options` of a create request. Options of another runtime's type are refused rather than misread.
 * @throws TtrpcError INVALID_ARGUMENT
 */
export function readRuntimeOptions(any: protobuf.Any | undefined): runc.Options {
  // No options, or what containerd sends for a runtime that has none in its configuration.
  if (any === undefined || any.typeUrl === '' || holds(any, runtimeOptions.Options))
    return runc.Options.decode(new Uint8Array());
  try {
    return unpackAny(runc.Options, any);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TtrpcError(
      Code.InvalidArgument,
      `the runtime options cannot be read: ${why}; use containerd.runc.v1.Options`,
      { cause },
    );
  }
}

/** The runtime that a container gets. @throws RuntimeError `missing` */
export function resolveRuntime(
  options: runc.Options,
  namespace: string,
  workFolder: string,
  config: ShimConfig,
): RuntimeRecord {
  return {
    binary: findRuntime(options.binaryName, config),
    root: join(nonEmpty(options.root) ?? defaultRoot, namespace),
    systemdCgroup: options.systemdCgroup,
    noPivotRoot: options.noPivotRoot,
    noNewKeyring: options.noNewKeyring,
    criuWorkPath: nonEmpty(options.criuWorkPath) ?? workFolder,
    ioUid: options.ioUid,
    ioGid: options.ioGid,
  };
}

export function findRuntime(name: string, config: ShimConfig): string {
  const wanted = nonEmpty(name) ?? nonEmpty(config.defaultRuntime);
  if (wanted !== undefined) return findProgram(wanted, config.searchPath);
  try {
    return findProgram('runc', config.searchPath);
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error;
    return findProgram('crun', config.searchPath);
  }
}

function nonEmpty(text: string): string | undefined {
  return text === '' ? undefined : text;
}
