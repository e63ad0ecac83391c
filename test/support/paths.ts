import { join, resolve } from 'node:path';

export const repository = resolve(import.meta.dirname, '../..');

/** The daemon, and the command that people give it. */
export const berthdBinary = join(repository, 'dist/bin/berthd');
export const berthctlBinary = join(repository, 'dist/bin/berthctl');

/** The addon, built. */
export const nativeAddon = join(repository, 'dist/lib/berth.node');

/** The shim that is tested. Another one, such as Debian's, may be named to see what is our doing and what is containerd's. */
export const shimBinary =
  process.env['BERTH_TEST_RUNTIME_BINARY'] ?? join(repository, 'dist/bin/containerd-shim-berth-v2');

/** The OCI runtimes that containers are run with. */
export const ociRuntimes = { runc: '/usr/sbin/runc', crun: '/usr/bin/crun' } as const;
export type OciRuntime = keyof typeof ociRuntimes;
