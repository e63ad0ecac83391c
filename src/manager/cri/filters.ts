import type { ContainerRecord, SandboxRecord } from '../pods/index.ts';
import { containerState } from './container-status.ts';
import { sandboxState } from './sandbox-status.ts';
import type { cri } from '../../wire/index.ts';

/** Whether every label of the selector is there with its value. */
export function hasLabels(
  labels: Readonly<Record<string, string>>,
  selector: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

/** Whether the filter's id, if it has one, is this one or the beginning of it. */
const hasId = (id: string, wanted: string) => wanted === '' || id.startsWith(wanted);

export function matchesSandbox(record: SandboxRecord, filter: cri.PodSandboxFilter | undefined): boolean {
  if (record.state === 'creating') return false;
  if (filter === undefined) return true;
  if (!hasId(record.id, filter.id)) return false;
  if (filter.state !== undefined && sandboxState(record) !== filter.state.state) return false;
  return hasLabels(record.config.labels, filter.labelSelector);
}

export function matchesContainer(record: ContainerRecord, filter: cri.ContainerFilter | undefined): boolean {
  if (record.state === 'creating') return false;
  if (filter === undefined) return true;
  if (!hasId(record.id, filter.id) || !hasId(record.sandboxId, filter.podSandboxId)) return false;
  if (filter.state !== undefined && containerState(record) !== filter.state.state) return false;
  return hasLabels(record.config.labels, filter.labelSelector);
}

export function matchesStats(record: ContainerRecord, filter: cri.ContainerStatsFilter | undefined): boolean {
  if (record.state !== 'running') return false;
  if (filter === undefined) return true;
  return (
    hasId(record.id, filter.id) &&
    hasId(record.sandboxId, filter.podSandboxId) &&
    hasLabels(record.config.labels, filter.labelSelector)
  );
}

export function matchesSandboxStats(record: SandboxRecord, filter: cri.PodSandboxStatsFilter | undefined): boolean {
  if (record.state !== 'ready') return false;
  if (filter === undefined) return true;
  return hasId(record.id, filter.id) && hasLabels(record.config.labels, filter.labelSelector);
}
