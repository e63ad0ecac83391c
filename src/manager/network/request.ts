import { isIP } from 'node:net';
import { Code, RpcError } from '../../grpc/index.ts';
import { podBandwidth } from './bandwidth.ts';

export interface PodPortMapping {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly containerPort: number;
  /** 0: not published. */
  readonly hostPort: number;
  /** '' for all addresses of the host. */
  readonly hostIp: string;
}

/** What a pod asks of its network. */
export interface PodNetworkRequest {
  readonly sandboxId: string;
  readonly netnsPath: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly portMappings: readonly PodPortMapping[];
  readonly dns?: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  readonly cgroupParent?: string;
  /** Further capability arguments by their conventional names: `mac`, `ips`, `aliases`, `ipRanges`, … */
  readonly capabilities?: Readonly<Record<string, unknown>>;
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** @throws {RpcError} INVALID_ARGUMENT for what could be no file's name, or a plugin would refuse */
export function checkSandboxId(id: string): void {
  if (!idPattern.test(id)) {
    throw new RpcError(Code.InvalidArgument, `the sandbox id ${JSON.stringify(id.slice(0, 128))} is not valid`);
  }
}

/** CNI_ARGS. @throws {RpcError} INVALID_ARGUMENT for a value that would change the meaning of the others */
export function cniArguments(request: PodNetworkRequest): string {
  const values = {
    IgnoreUnknown: '1',
    K8S_POD_NAMESPACE: request.podNamespace,
    K8S_POD_NAME: request.podName,
    K8S_POD_INFRA_CONTAINER_ID: request.sandboxId,
    K8S_POD_UID: request.podUid,
  };
  for (const [key, value] of Object.entries(values)) {
    if (/[;\x00-\x1f]/.test(value) || value.length > 1024) {
      throw new RpcError(
        Code.InvalidArgument,
        `${key} of the pod is not valid: ${JSON.stringify(value.slice(0, 128))}`,
      );
    }
  }
  return Object.entries(values)
    .map(([key, value]) => `${key}=${value}`)
    .join(';');
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

function publishedPorts(mappings: readonly PodPortMapping[]): PodPortMappingArgument[] {
  return mappings
    .filter(({ hostPort }) => hostPort > 0)
    .map(({ protocol, containerPort, hostPort, hostIp }) => {
      if (!isPort(hostPort) || !isPort(containerPort)) {
        throw new RpcError(
          Code.InvalidArgument,
          `the port mapping ${hostPort} to ${containerPort} is not valid: ports are 1 to 65535`,
        );
      }
      if (hostIp !== '' && isIP(hostIp) === 0) {
        throw new RpcError(
          Code.InvalidArgument,
          `the host address ${JSON.stringify(hostIp.slice(0, 64))} of a port mapping is no IP address`,
        );
      }
      return { hostPort, containerPort, protocol, hostIP: hostIp };
    });
}

interface PodPortMappingArgument {
  hostPort: number;
  containerPort: number;
  protocol: string;
  hostIP: string;
}

/**
 * What plugins that say so get in `runtimeConfig`, by the conventional names, and by containerd's for the pod's annotations.
 * @throws {RpcError} INVALID_ARGUMENT
 */
export function capabilityArguments(request: PodNetworkRequest): Record<string, unknown> {
  const { annotations, dns, cgroupParent } = request;
  const portMappings = publishedPorts(request.portMappings);
  const bandwidth = podBandwidth(annotations);
  return {
    ...request.capabilities,
    'io.kubernetes.cri.pod-annotations': annotations,
    ...(portMappings.length > 0 && { portMappings }),
    ...(bandwidth !== undefined && { bandwidth }),
    ...(dns !== undefined && { dns: { servers: dns.servers, searches: dns.searches, options: dns.options } }),
    ...(cgroupParent !== undefined && cgroupParent !== '' && { cgroupPath: cgroupParent }),
  };
}
