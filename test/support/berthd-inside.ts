import { berth, events, fromTimestamp, holds, unpackAny } from '../../src/wire/index.ts';
import type { BerthdBed } from './berthd-bed.ts';

/** What ContainerStatus says when it is asked to be verbose, as far as tests look at it. */
export interface ContainerInfo {
  sandboxID: string;
  /** 0 when it does not run. */
  pid: number;
  state: string;
  bundle: string;
  writableLayer: string;
  /** By controller; on cgroup v2 all are the same. */
  cgroups: Record<string, string>;
  runtimeSpec: { process: { args: string[] } } | null;
}

/** The same of PodSandboxStatus. */
export interface PodInfo {
  /** Of the process that holds the pod's namespaces. */
  pid: number;
  networkNamespace: string;
  shim: { pid: number; bundle: string; ours: boolean } | null;
}

export async function containerInfo(bed: BerthdBed, containerId: string): Promise<ContainerInfo> {
  const { info } = await bed.cri.runtime('ContainerStatus', { containerId, verbose: true });
  return JSON.parse(info['info'] ?? '{}') as ContainerInfo;
}

export async function podInfo(bed: BerthdBed, podSandboxId: string): Promise<PodInfo> {
  const { info } = await bed.cri.runtime('PodSandboxStatus', { podSandboxId, verbose: true });
  return JSON.parse(info['info'] ?? '{}') as PodInfo;
}

/** The pid of a pod's shim. */
export async function shimOf(bed: BerthdBed, podSandboxId: string): Promise<number> {
  const { shim } = await podInfo(bed, podSandboxId);
  if (shim === null) throw new Error(`pod ${podSandboxId} has no shim`);
  return shim.pid;
}

/** An event of berth.v1, without what is of no interest to tests. */
export interface ToldEvent {
  sequence: bigint;
  containerId: string;
  /** Without "/tasks/". */
  what: string;
  /** Set for exits. */
  exitStatus?: number;
  /** Nanoseconds since the epoch; set for exits. */
  exitedAt?: bigint;
}

export function toldEvent({ sequence, containerId, topic, event }: berth.Event): ToldEvent {
  const told = { sequence, containerId, what: topic.replace('/tasks/', '') };
  if (event === undefined || !holds(event, events.TaskExit)) return told;
  const { exitStatus, exitedAt } = unpackAny(events.TaskExit, event);
  return { ...told, exitStatus, exitedAt: fromTimestamp(exitedAt) ?? 0n };
}

/** What the daemon has written down after that number, up to now. */
export async function eventsAfter(bed: BerthdBed, afterSequence: bigint): Promise<ToldEvent[]> {
  const request = { afterSequence, noFollow: true };
  const told: ToldEvent[] = [];
  for await (const event of bed.client.stream(berth.Events, 'Subscribe', request, { timeoutMs: 10_000 })) {
    told.push(toldEvent(event));
  }
  return told;
}
