/**
 * The parts of the OCI runtime specification (config.md, config-linux.md) that Berth reads or changes.
 * Everything else in a config.json passes through untouched, which is why each type is open.
 */

export interface Mount {
  destination: string;
  type?: string;
  source?: string;
  options?: string[];
  [key: string]: unknown;
}

export type NamespaceType = 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time';

export interface Namespace {
  type: NamespaceType;
  /** A path of an existing namespace to join; absent: a new one. */
  path?: string;
}

/** `process` of a config.json; also what `exec` is given. */
export interface ProcessSpec {
  terminal?: boolean;
  args?: string[];
  cwd: string;
  oomScoreAdj?: number;
  [key: string]: unknown;
}

export interface Spec {
  ociVersion: string;
  hostname?: string;
  process?: ProcessSpec;
  mounts?: Mount[];
  annotations?: Record<string, string>;
  linux?: {
    namespaces?: Namespace[];
    cgroupsPath?: string;
    [key: string]: unknown;
  };
  [key: string]: unknown;
}

/** The namespace entry of that type, or undefined when the container shares the caller's. */
export function namespaceOf(spec: Spec, type: NamespaceType): Namespace | undefined {
  return spec.linux?.namespaces?.find((namespace) => namespace.type === type);
}

/**
 * True when the kernel ends every process of the container with its first one: the container has a PID namespace
 * of its own. Otherwise (the host's or a shared one) whoever owns the container has to end them.
 */
export function hasOwnPidNamespace(spec: Spec): boolean {
  const pid = namespaceOf(spec, 'pid');
  return pid !== undefined && (pid.path === undefined || pid.path === '');
}
