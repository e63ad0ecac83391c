// Shims: started, found again, driven and cleaned up after; and the events that they send.
export { type Deadlines, defaultDeadlines } from './deadlines.ts';
export { ShimEventsServer, type ShimEvent, type TakeEvent } from './events-server.ts';
export type { ExecSyncOptions, ExecSyncResult } from './exec-sync.ts';
export type { CreateTaskOptions, PodShim, StartSandboxOptions } from './pod-shim.ts';
export {
  resolveRuntimes,
  type ResolvedRuntime,
  type ResolvedRuntimes,
  type ResolveOptions,
  runtimeNamed,
} from './runtimes.ts';
export type { CleanedUp, LostContainer } from './shim-cleanup.ts';
export { isRunning } from './process-identity.ts';
export type { Exit } from './shim-command.ts';
export type { ShimInfo } from './shim-info.ts';
export { Shims, type ShimsOptions } from './shims.ts';
