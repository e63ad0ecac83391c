import { fstatSync, readFileSync } from 'node:fs';
import type { NativeAddon } from '../linux/index.ts';
import { OciRuntime } from '../oci/index.ts';
import { holds, ociType, packAny, protobuf, runc, types, unpackAny } from '../wire/index.ts';
import type { ShimConfig } from './config.ts';
import { withLoop } from './one-shot.ts';
import { findRuntime } from './runtime-options.ts';
import { version } from './version.ts';

const runtimeName = 'io.containerd.berth.v2';

/** `-v`: for people. */
export function printVersion(): void {
  process.stdout.write(
    `containerd-shim-berth-v2:\n  Version:  ${version}\n  Host:     ${process.release.name} ${process.version}\n`,
  );
}

/** `-info`: reads an Any with runtime options from stdin, prints a RuntimeInfo. */
export async function printInfo(native: NativeAddon, config: ShimConfig): Promise<void> {
  const given = readOptions();
  const binary = findRuntime(given?.binaryName ?? '', config);
  const options = { binary, root: '', logPath: '', systemdCgroup: false, timeoutSeconds: config.runtimeTimeoutSeconds };
  const features = await withLoop(native, config, (_reactor, commands) =>
    new OciRuntime(options, commands, () => commands.capture()).features(),
  );
  const info = types.RuntimeInfo.encode({
    name: runtimeName,
    version: { version },
    ...(given === undefined ? {} : { options: packAny(runc.Options, given) }),
    ...(features === undefined ? {} : { features: { typeUrl: ociType.features, value: Buffer.from(features) } }),
  });
  process.stdout.write(info);
}

function readOptions(): runc.Options | undefined {
  if (fstatSync(0).isCharacterDevice()) return undefined;
  const bytes = readFileSync(0);
  if (bytes.length === 0) return undefined;
  const any = protobuf.Any.decode(bytes);
  return holds(any, runc.Options) ? unpackAny(runc.Options, any) : undefined;
}
