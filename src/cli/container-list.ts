import { cri } from '../wire/index.ts';
import type { Daemon } from './daemon.ts';
import { UsageError } from './failure.ts';
import { label, parsePairs, pattern } from './labels.ts';
import { resolvePod } from './identity.ts';
import type { OptionSpecs, OptionValues } from './options.ts';

/** The options that pick containers, as `ps`, `inspect` and `exec` have them. */
export const containerFilters = {
  name: { type: 'text', value: 'PATTERN', help: 'only containers whose name matches this regular expression' },
  pod: { type: 'text', short: 'p', value: 'ID', help: 'only containers of this pod' },
  image: { type: 'text', value: 'IMAGE', help: 'only containers of this image' },
  state: { type: 'text', value: 'STATE', help: 'only created, running, exited or unknown ones' },
  label: { type: 'list', value: 'KEY=VALUE', help: 'only containers with this label; may be given more than once' },
  latest: { type: 'flag', short: 'l', help: 'only the newest container, in any state' },
  last: { type: 'whole', short: 'n', help: 'only the newest N containers, in any state; 0: all' },
} as const satisfies OptionSpecs;

export type ContainerFilter = Partial<OptionValues<typeof containerFilters>> & {
  readonly id?: string | undefined;
  /** A regular expression. */
  readonly namespace?: string | undefined;
  readonly all?: boolean;
};

const states: Readonly<Record<string, cri.ContainerState>> = {
  created: cri.ContainerState.CONTAINER_CREATED,
  running: cri.ContainerState.CONTAINER_RUNNING,
  exited: cri.ContainerState.CONTAINER_EXITED,
  unknown: cri.ContainerState.CONTAINER_UNKNOWN,
};

/** Newest first. Only running ones, unless the filter says otherwise. @throws {Failure} */
export async function listContainers(daemon: Daemon, filter: ContainerFilter): Promise<cri.Container[]> {
  const state = stateOf(filter);
  const name = pattern('--name', filter.name);
  const namespace = pattern('--namespace', filter.namespace);
  const podSandboxId = filter.pod === undefined ? '' : await resolvePod(daemon, filter.pod);
  const { containers } = await daemon.runtime('cannot list containers', 'ListContainers', {
    filter: {
      podSandboxId,
      state: state === undefined ? undefined : { state },
      labelSelector: parsePairs('--label', filter.label ?? []),
    },
  });
  const image = filter.image === undefined ? undefined : await imageId(daemon, filter.image);
  const chosen: cri.Container[] = [];
  for (const container of containers) {
    if (filter.id !== undefined && !container.id.startsWith(filter.id)) continue;
    if (name?.test(container.metadata?.name ?? '') === false) continue;
    if (namespace?.test(podNamespace(container)) === false) continue;
    if (filter.image !== undefined && !(await usesImage(daemon, container, image))) continue;
    chosen.push(container);
  }
  return newest(chosen, filter);
}

function stateOf({ state, all = false, latest = false, last = 0 }: ContainerFilter): cri.ContainerState | undefined {
  if (latest || last > 0) return undefined;
  if (state === undefined) return all ? undefined : cri.ContainerState.CONTAINER_RUNNING;
  const value = states[state.toLowerCase()];
  if (value === undefined) throw new UsageError(`--state is created, running, exited or unknown, not "${state}"`);
  return value;
}

/** The newest first; of those the first, or the first N. */
export function newest<T extends { readonly createdAt: bigint }>(
  items: readonly T[],
  { latest = false, last = 0 }: { readonly latest?: boolean | undefined; readonly last?: number | undefined },
): T[] {
  const sorted = items.toSorted((a, b) => (a.createdAt === b.createdAt ? 0 : a.createdAt > b.createdAt ? -1 : 1));
  if (last > 0) return sorted.slice(0, last);
  return latest ? sorted.slice(0, 1) : sorted;
}

async function usesImage(daemon: Daemon, container: cri.Container, image: string | undefined): Promise<boolean> {
  if (image === undefined) return false;
  if (container.imageId === image || container.imageRef === image) return true;
  return (await imageId(daemon, container.image?.image ?? '')) === image;
}

async function imageId(daemon: Daemon, image: string): Promise<string | undefined> {
  const answer = await daemon.images(`cannot look up the image ${image}`, 'ImageStatus', { image: { image } });
  return answer.image?.id;
}

export function podName({ labels }: cri.Container): string {
  return labels[label.podName] ?? 'unknown';
}

export function podNamespace({ labels }: cri.Container): string {
  return labels[label.podNamespace] ?? 'unknown';
}

/** "Running" and the like. */
export function containerStateName(state: cri.ContainerState): string {
  const name = Object.keys(states).find((one) => states[one] === state) ?? `state ${String(state)}`;
  return name.slice(0, 1).toUpperCase() + name.slice(1);
}
