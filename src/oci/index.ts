export type { Command, CommandResult, CommandRunner, OutputCapture } from './command.ts';
export { RuntimeError, type RuntimeFailure } from './errors.ts';
export { findProgram } from './lookup.ts';
export { oneLine } from './runtime-log.ts';
export { initPidPath, OciRuntime, type CheckpointOptions, type ProcessStdio, type RuntimeOptions } from './runtime.ts';
export {
  hasOwnPidNamespace,
  namespaceOf,
  type Mount,
  type Namespace,
  type NamespaceType,
  type ProcessSpec,
  type Spec,
} from './spec.ts';
