import { cri } from '../../wire/index.ts';
import { recordFormat } from '../store/index.ts';
import type { ShimInfo } from '../tasks/index.ts';

/**
 * `creating`: RunPodSandbox has begun; what it has made is undone if it does not end well.
 * `ready`: containers can be made in it.
 * `notready`: it was stopped, or its shim is gone.
 * `removing`: RemovePodSandbox has begun; it is finished after a crash.
 */
export type SandboxState = 'creating' | 'ready' | 'notready' | 'removing';

/** A pod sandbox as it was asked for, and what has become of it. */
export interface SandboxRecord {
  readonly id: string;
  readonly config: cri.PodSandboxConfig;
  /** As the caller named it; '' for the default. */
  readonly runtimeHandler: string;
  /** The configured runtime that it means. */
  readonly runtime: string;
  readonly state: SandboxState;
  /** Nanoseconds since the epoch. */
  readonly createdAt: bigint;
  readonly hostname: string;
  /** Where its network namespace is pinned; '' for the host's. */
  readonly netnsPath: string;
  /** Its addresses, the primary one first. */
  readonly ips: readonly string[];
  /** What the network gave, for those who ask verbosely. */
  readonly networkResult: unknown;
  /** Its shim; null before it has one and after it has ended. */
  readonly shim: ShimInfo | null;
  /** Of the process that holds its namespaces; 0 when there is none. */
  readonly pid: number;
  /** StopPodSandbox has begun, and is finished after a crash. */
  readonly stopping: boolean;
  /** Its network is given back. */
  readonly networkReleased: boolean;
}

export const sandboxFormat = recordFormat<SandboxRecord>({
  bigints: ['createdAt'],
  messages: { config: cri.PodSandboxConfig },
});

/** Whether it runs in the host's network. */
export function usesHostNetwork(config: cri.PodSandboxConfig): boolean {
  return config.linux?.securityContext?.namespaceOptions?.network === cri.NamespaceMode.NODE;
}
