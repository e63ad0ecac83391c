import type { CgroupDirectories } from '../../linux/index.ts';
import { cri } from '../../wire/index.ts';
import { recordFormat } from '../store/index.ts';

/**
 * `creating`: CreateContainer has begun; what it has made is undone if it does not end well.
 * `created`: it can be started. Its shim knows nothing of it yet.
 * `starting`: StartContainer has begun; after a crash it counts as started or not, as its shim says.
 * `running`, `exited`: what its shim has told.
 * `removing`: RemoveContainer has begun; it is finished after a crash.
 */
export type ContainerState = 'creating' | 'created' | 'starting' | 'running' | 'exited' | 'removing';

/** A stop that was asked for. It is in the record until the container has ended, so that a new daemon takes it up. */
export interface StopRequest {
  /** Signal number that asks it to end. */
  readonly signal: number;
  /** Milliseconds since the epoch; then SIGKILL follows. */
  readonly deadline: number;
  /** The signal was sent. */
  readonly signalled: boolean;
}

/** A container as it was asked for, and what has become of it. */
export interface ContainerRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: cri.ContainerConfig;
  /** "sha256:…" of the image's configuration. */
  readonly imageId: string;
  /** What status calls the image: a name with a digest, else the id. */
  readonly imageRef: string;
  readonly state: ContainerState;
  /** Nanoseconds since the epoch; 0 for not yet. */
  readonly createdAt: bigint;
  readonly startedAt: bigint;
  readonly finishedAt: bigint;
  /** Of its first process; 0 before the start and after the end. */
  readonly pid: number;
  readonly exitCode: number;
  /** "Completed", "Error", "OOMKilled", "StartError", "ContainerStatusUnknown". */
  readonly reason: string;
  readonly message: string;
  readonly oomKilled: boolean;
  /** Its shim has a task for it (or may have, after a crash) that must be deleted. */
  readonly hasTask: boolean;
  /** What the journal of events has of it. */
  readonly told: { readonly create: boolean; readonly exit: boolean; readonly delete: boolean };
  /** When a start of it was undone, nanoseconds since the epoch; what is told from before belongs to that. 0: none was. */
  readonly undoneAt: bigint;
  /** Absolute; '' for no log. */
  readonly logPath: string;
  readonly stopSignal: number;
  readonly stop: StopRequest | null;
  readonly user: { readonly uid: number; readonly gid: number; readonly additionalGids: readonly number[] };
  /** The resources in force; undefined when none were asked for. */
  readonly resources: cri.LinuxContainerResources | undefined;
  /** Where its counters are. */
  readonly cgroups: CgroupDirectories;
}

/** Nothing of it was told yet. */
export const untold: ContainerRecord['told'] = { create: false, exit: false, delete: false };

export const containerFormat = recordFormat<ContainerRecord>({
  bigints: ['createdAt', 'startedAt', 'finishedAt', 'undoneAt'],
  messages: { config: cri.ContainerConfig, resources: cri.LinuxContainerResources },
});

/** The container runs, or may. */
export function isAlive({ state }: ContainerRecord): boolean {
  return state === 'starting' || state === 'running';
}
