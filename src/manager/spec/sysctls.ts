import { cri } from '../../wire/index.ts';
import { podNamespaces } from './namespaces.ts';
import { refuse, refuseControlCharacters } from './refusal.ts';

const { NamespaceMode } = cri;
const field = 'config.linux.sysctls';

/** Kernel parameters that each namespace has its own of (sysctl's documentation, namespaces(7)). */
const ofIpc = /^(kernel\.(shm[a-z_]*|msg[a-z_]*|sem)|fs\.mqueue\..+)$/;
const ofNetwork = /^net\..+/;

/** Only parameters that the pod has of its own: others would be changed for the whole node. */
export function checkSysctls(config: cri.PodSandboxConfig): void {
  const { network, ipc } = podNamespaces(config);
  for (const [name, value] of Object.entries(config.linux?.sysctls ?? {})) {
    const at = `${field}[${JSON.stringify(name)}]`;
    if (!/^[a-z][a-z0-9_-]*(\.[A-Za-z0-9_@/-]+)+$/.test(name) || name.includes('//')) {
      refuse(at, 'is no parameter in the form "net.ipv4.ip_forward"');
    }
    refuseControlCharacters(at, value);
    if (ofNetwork.test(name)) {
      if (network === NamespaceMode.NODE) refuse(at, "the pod has the node's network: set it on the node");
    } else if (ofIpc.test(name)) {
      if (ipc === NamespaceMode.NODE) refuse(at, "the pod has the node's IPC: set it on the node");
    } else {
      refuse(
        at,
        'is not one that a pod can have of its own: those are net.*, kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.*',
      );
    }
  }
}

/**
 * `linux.sysctl` of every container of the pod: each sets them in the pod's namespaces. In a network of its own any
 * user may bind low ports and send pings, as with containerd 2, unless the pod says otherwise.
 */
export function sysctls(config: cri.PodSandboxConfig): Record<string, string> {
  const open = { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' };
  const ownNetwork = podNamespaces(config).network !== NamespaceMode.NODE;
  return { ...(ownNetwork && open), ...config.linux?.sysctls };
}
