/** The front door of src/linux: what the kernel offers, with types. It knows nothing of containers. */
export { loadNative } from './native.ts';
export type {
  ChildExit,
  InputOptions,
  Loop,
  LoopEvent,
  NativeAddon,
  OutputOptions,
  PeerCredentials,
  SpawnOptions,
} from './native.ts';
export { isSystemError } from './errors.ts';
export { unlinkQuietly } from './files.ts';
export type { SystemError } from './errors.ts';
export { childProcesses, parseProcessStatus, privateMemoryKilobytes, readProcessStatus } from './process.ts';
export type { ProcessStatus } from './process.ts';
export { detachMount, parseMountInfo, readMountInfo, unmountAllUnder } from './mounts.ts';
export type { MountPoint } from './mounts.ts';
export { cloneFlags, namespaceIdentity, namespacePath, unpinNamespace } from './namespaces.ts';
export type { NamespaceKind } from './namespaces.ts';
export { cgroupsOfProcess, containerCgroups, detectCgroupLayout } from './cgroups/layout.ts';
export type { CgroupDirectories, CgroupHierarchy, CgroupLayout } from './cgroups/layout.ts';
export { CgroupMoves } from './cgroups/moves.ts';
export { readCgroupMetrics } from './cgroups/metrics.ts';
export type { CgroupMetrics } from './cgroups/metrics.ts';
export type { CgroupMetricsV1 } from './cgroups/metrics-v1.ts';
export type { CgroupMetricsV2 } from './cgroups/metrics-v2.ts';
export { openOomNotifier, readOomKills } from './cgroups/memory-kills.ts';
export type { OomNotifier } from './cgroups/memory-kills.ts';
export { diesFrozen, killCgroup, processesInCgroups, removeCgroups, thawCgroup } from './cgroups/processes.ts';
