import type { Namespace, NamespaceType, Spec } from '../oci/index.ts';
import type { SandboxRecord } from './record.ts';

/** Namespace types that a sandbox holds with its own process, by their names under /proc/PID/ns. */
const shared = { ipc: 'ipc', uts: 'uts', pid: 'pid' } as const;

/**
 * Makes a container's configuration that of a member of the sandbox. Returns whether anything changed.
 *
 * A namespace entry with a path under /proc of the sandbox's process, by its pid here (StartSandbox's answer) or as pid 1
 * (what the process is inside the sandbox), means: the sandbox's. Any other path is left alone. A sandbox that has a network
 * namespace is the network of all its members; a member with a shared IPC namespace has the sandbox's /dev/shm as well. A mount
 * of type `uds`, a socket of the host, is a bind mount: there is no machine between the sandbox and the host.
 */
export function adaptToSandbox(spec: Spec, sandbox: SandboxRecord): boolean {
  const linux = (spec.linux ??= {});
  const namespaces = (linux.namespaces ??= []);
  const before = JSON.stringify([namespaces, spec.mounts]);
  for (const namespace of namespaces) {
    if (namespace.type in shared && isSandboxPath(namespace, sandbox)) {
      namespace.path = `/proc/${sandbox.pid}/ns/${shared[namespace.type as keyof typeof shared]}`;
    }
  }
  for (const mount of spec.mounts ?? []) {
    if (mount.type === 'uds') Object.assign(mount, { type: 'bind', options: ['bind', ...(mount.options ?? [])] });
  }
  if (sandbox.networkPath !== '') joinNetwork(namespaces, sandbox);
  if (sandbox.shmPath !== '' && pathOf(namespaces, 'ipc') === `/proc/${sandbox.pid}/ns/ipc`)
    shareShm(spec, sandbox.shmPath);
  return JSON.stringify([namespaces, spec.mounts]) !== before;
}

function isSandboxPath(namespace: Namespace, sandbox: SandboxRecord): boolean {
  const match = /^\/proc\/([0-9]+)\/ns\/[a-z]+$/.exec(namespace.path ?? '');
  return match !== null && (match[1] === '1' || Number(match[1]) === sandbox.pid);
}

function joinNetwork(namespaces: Namespace[], sandbox: SandboxRecord): void {
  const network = namespaces.find((namespace) => namespace.type === 'network');
  if (network === undefined) namespaces.push({ type: 'network', path: sandbox.networkPath });
  else if ((network.path ?? '') === '' || isSandboxPath(network, sandbox)) network.path = sandbox.networkPath;
}

function pathOf(namespaces: Namespace[], type: NamespaceType): string | undefined {
  return namespaces.find((namespace) => namespace.type === type)?.path;
}

function shareShm(spec: Spec, shmPath: string): void {
  const mount = spec.mounts?.find(({ destination, type }) => destination === '/dev/shm' && type === 'tmpfs');
  if (mount === undefined) return;
  mount.type = 'bind';
  mount.source = shmPath;
  mount.options = [
    'rbind',
    'rprivate',
    ...(mount.options ?? []).filter((option) => /^(no(suid|exec|dev)|ro|rw)$/.test(option)),
  ];
}
