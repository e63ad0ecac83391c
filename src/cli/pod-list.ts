import { cri } from '../wire/index.ts';
import { newest } from './container-list.ts';
import type { Daemon } from './daemon.ts';
import { UsageError } from './failure.ts';
import { parsePairs, pattern } from './labels.ts';
import type { OptionSpecs, OptionValues } from './options.ts';

/** The options that pick pods, as `pods` and `inspectp` have them. */
export const podFilters = {
  name: { type: 'text', value: 'PATTERN', help: 'only pods whose name matches this regular expression' },
  namespace: { type: 'text', value: 'PATTERN', help: 'only pods whose namespace matches this regular expression' },
  state: { type: 'text', short: 's', value: 'STATE', help: 'only ready or notready ones' },
  label: { type: 'list', value: 'KEY=VALUE', help: 'only pods with this label; may be given more than once' },
  latest: { type: 'flag', short: 'l', help: 'only the newest pod' },
  last: { type: 'whole', short: 'n', help: 'only the newest N pods; 0: all' },
} as const satisfies OptionSpecs;

export type PodFilter = Partial<OptionValues<typeof podFilters>> & { readonly id?: string | undefined };

/** Newest first. @throws {Failure} */
export async function listPods(daemon: Daemon, filter: PodFilter): Promise<cri.PodSandbox[]> {
  const state = stateOf(filter.state);
  const name = pattern('--name', filter.name);
  const namespace = pattern('--namespace', filter.namespace);
  const { items } = await daemon.runtime('cannot list pods', 'ListPodSandbox', {
    filter: {
      state: state === undefined ? undefined : { state },
      labelSelector: parsePairs('--label', filter.label ?? []),
    },
  });
  const chosen = items.filter(
    ({ id, metadata }) =>
      (filter.id === undefined || id.startsWith(filter.id)) &&
      name?.test(metadata?.name ?? '') !== false &&
      namespace?.test(metadata?.namespace ?? '') !== false,
  );
  return newest(chosen, filter);
}

function stateOf(state: string | undefined): cri.PodSandboxState | undefined {
  switch (state?.toLowerCase()) {
    case undefined:
      return undefined;
    case 'ready':
      return cri.PodSandboxState.SANDBOX_READY;
    case 'notready':
      return cri.PodSandboxState.SANDBOX_NOTREADY;
    default:
      throw new UsageError(`--state is ready or notready, not "${state ?? ''}"`);
  }
}

export function podStateName(state: cri.PodSandboxState): string {
  return state === cri.PodSandboxState.SANDBOX_READY ? 'Ready' : 'NotReady';
}

export function runtimeName({ runtimeHandler }: cri.PodSandbox): string {
  return runtimeHandler === '' ? '(default)' : runtimeHandler;
}
