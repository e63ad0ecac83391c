import type { ServiceHandlers } from '../../grpc/index.ts';
import type { version } from '../../wire/index.ts';

/** containerd.services.version.v1: what `ctr version` shows. */
export function versionService(berthVersion: string): ServiceHandlers<typeof version.Version> {
  return { Version: () => ({ version: berthVersion, revision: '' }) };
}
