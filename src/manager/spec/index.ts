// What a container is made of: from CRI's configuration, the image's and the host to an OCI runtime specification.
export { buildSpec } from './build.ts';
export { cgroupsPath } from './cgroups-path.ts';
export { checkContainerConfig, checkSandboxConfig } from './check.ts';
export { detectHost, type HostFacts, type HostOptions } from './host.ts';
export { ImageAccounts } from './image-accounts.ts';
export { imageVolumes } from './image-volumes.ts';
export type { BuiltSpec, ResolvedUser, SpecInput } from './input.ts';
export { type LinuxResources, updateResources } from './resources.ts';
export { sandboxFiles, type SandboxFileContents } from './sandbox-files.ts';
export { stopSignalOf } from './stop-signal.ts';
