import { Code } from '../../grpc/index.ts';
import type { Namespace } from '../../oci/index.ts';
import { cri } from '../../wire/index.ts';
import type { HostFacts } from './host.ts';
import type { SpecContainer, SpecSandbox } from './input.ts';
import { refuse } from './refusal.ts';

const { NamespaceMode } = cri;
const field = 'config.linux.securityContext.namespaceOptions';

/** Of a pod: each namespace is its own, each container's (PID only), or the node's. */
export function checkSandboxNamespaces(options: cri.NamespaceOption | undefined): void {
  if (options === undefined) return;
  checkMode(options.network, `${field}.network`, [NamespaceMode.POD, NamespaceMode.NODE]);
  checkMode(options.ipc, `${field}.ipc`, [NamespaceMode.POD, NamespaceMode.NODE]);
  checkMode(options.pid, `${field}.pid`, [NamespaceMode.POD, NamespaceMode.CONTAINER, NamespaceMode.NODE]);
  checkUserNamespace(options.usernsOptions);
}

/** Of a container: it gets no nearer to the node than its pod is. */
export function checkContainerNamespaces(
  options: cri.NamespaceOption | undefined,
  ofPod: cri.NamespaceOption | undefined,
): void {
  if (options === undefined) return;
  const { POD, CONTAINER, NODE, TARGET } = NamespaceMode;
  checkMode(options.network, `${field}.network`, [POD, NODE]);
  checkMode(options.ipc, `${field}.ipc`, [POD, NODE]);
  checkMode(options.pid, `${field}.pid`, [POD, CONTAINER, NODE, TARGET]);
  for (const kind of ['network', 'ipc', 'pid'] as const) {
    if (options[kind] === NODE && (ofPod?.[kind] ?? POD) !== NODE) {
      refuse(
        `${field}.${kind}`,
        "asks for the node's namespace, which the pod does not share: ask for it in the pod's config",
      );
    }
  }
  if (options.pid === TARGET && options.targetId === '') refuse(`${field}.targetId`, 'is empty, and pid is TARGET');
  checkUserNamespace(options.usernsOptions);
}

function checkMode(mode: number, at: string, allowed: readonly number[]): void {
  if (!allowed.includes(mode))
    refuse(at, `${modeName(mode)} is not possible; choose of ${allowed.map(modeName).join(', ')}`);
}

function modeName(mode: number): string {
  return Object.entries(NamespaceMode).find(([, number]) => number === mode)?.[0] ?? String(mode);
}

function checkUserNamespace(options: cri.UserNamespace | undefined): void {
  if (options === undefined) return;
  const { mode, uids, gids } = options;
  if (mode !== NamespaceMode.NODE) {
    const why = 'user namespaces are not implemented: leave the field out, or set its mode to NODE';
    refuse(`${field}.usernsOptions`, why, Code.Unimplemented);
  }
  if (uids.length > 0 || gids.length > 0)
    refuse(`${field}.usernsOptions`, 'has id mappings, and mode NODE maps nothing');
}

/**
 * The namespaces of a container; one that is not listed is the host's. Network, IPC and UTS are what the pod's
 * configuration says. A pod on the host's network has the host's name too. Cgroup namespaces are for cgroup v2, and not
 * for privileged containers, as with the peers.
 * @throws {RpcError} INVALID_ARGUMENT when pid is TARGET and there is no such process
 */
export function namespaces(
  sandbox: Pick<SpecSandbox, 'config' | 'netnsPath' | 'pid'>,
  container: Pick<SpecContainer, 'config' | 'targetPid'>,
  host: Pick<HostFacts, 'cgroup'>,
): Namespace[] {
  const ofPod = podNamespaces(sandbox.config);
  const security = container.config.linux?.securityContext;
  const mode = security?.namespaceOptions?.pid ?? NamespaceMode.POD;
  const held = (kind: string, pid = sandbox.pid): string => `/proc/${pid}/ns/${kind}`;
  const list: Namespace[] = [{ type: 'mount' }];
  if (sandbox.netnsPath !== '') {
    list.push({ type: 'network', path: sandbox.netnsPath }, { type: 'uts', path: held('uts') });
  }
  if (ofPod.ipc !== NamespaceMode.NODE) list.push({ type: 'ipc', path: held('ipc') });
  if (mode === NamespaceMode.CONTAINER) list.push({ type: 'pid' });
  else if (mode === NamespaceMode.TARGET) {
    const target =
      container.targetPid ?? refuse(`${field}.targetId`, 'there is no such container that runs in this pod');
    list.push({ type: 'pid', path: held('pid', target) });
  } else if (ofPod.pid !== NamespaceMode.NODE) list.push({ type: 'pid', path: held('pid') });
  if (hasCgroupNamespace(security, host)) list.push({ type: 'cgroup' });
  return list;
}

export function hasCgroupNamespace(
  security: cri.LinuxContainerSecurityContext | undefined,
  host: Pick<HostFacts, 'cgroup'>,
): boolean {
  return host.cgroup.version === 2 && security?.privileged !== true;
}

/** What a pod's configuration says of its namespaces, with its defaults. */
export function podNamespaces(config: cri.PodSandboxConfig): Pick<cri.NamespaceOption, 'network' | 'ipc' | 'pid'> {
  const { network, ipc, pid } = config.linux?.securityContext?.namespaceOptions ?? {};
  return { network: network ?? NamespaceMode.POD, ipc: ipc ?? NamespaceMode.POD, pid: pid ?? NamespaceMode.POD };
}
