import type { SandboxRecord } from '../pods/index.ts';
import { cri, type Init } from '../../wire/index.ts';

export function sandboxState({ state, stopping }: SandboxRecord): cri.PodSandboxState {
  return state === 'ready' && !stopping ? cri.PodSandboxState.SANDBOX_READY : cri.PodSandboxState.SANDBOX_NOTREADY;
}

/** One line of ListPodSandbox. */
export function listedSandbox(record: SandboxRecord): Init<cri.PodSandbox> {
  const { id, config, createdAt, runtimeHandler } = record;
  return {
    id,
    metadata: config.metadata,
    state: sandboxState(record),
    createdAt,
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler,
  };
}

/** The answer of PodSandboxStatus. A pod in the host's network has no address of its own. */
export function sandboxStatus(record: SandboxRecord): Init<cri.PodSandboxStatus> {
  const [ip = '', ...others] = record.ips;
  const options = record.config.linux?.securityContext?.namespaceOptions;
  return {
    ...listedSandbox(record),
    network: { ip, additionalIps: others.map((address) => ({ ip: address })) },
    linux: { namespaces: { options: options ?? {} } },
  };
}
