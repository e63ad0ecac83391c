import { randomBytes, randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { cri, type Init } from '../../wire/index.ts';
import { UsageError } from '../failure.ts';
import { label } from '../labels.ts';
import type { OptionSpecs, OptionValues } from '../options.ts';

/** The options of `run` with an image. */
export const runOptions = {
  rm: { type: 'flag', help: 'remove container, pod and log at the end' },
  detach: { type: 'flag', short: 'd', help: "start it, print the container's id, and leave" },
  name: { type: 'text', help: 'of container and pod (default: run- and six letters)' },
  env: {
    type: 'list',
    short: 'e',
    value: 'KEY=VALUE',
    help: 'in its environment; KEY alone takes the value from yours',
  },
  volume: { type: 'list', short: 'v', value: 'HOST:CTR[:ro]', help: 'a file or folder of the host in the container' },
  publish: {
    type: 'list',
    short: 'p',
    value: '[IP:]PORT:CTR[/udp]',
    help: 'a port of the host that leads to the container',
  },
  net: { type: 'text', value: 'cni|host', help: "a network of its own, or the host's (default cni)" },
  user: { type: 'text', short: 'u', value: 'USER[:GROUP]', help: "name or number (default: the image's)" },
  workdir: { type: 'text', short: 'w', value: 'PATH', help: "where the command begins (default: the image's)" },
  privileged: { type: 'flag', help: 'with all rights of root on the host' },
  'stop-timeout': { type: 'duration', help: 'after Ctrl-C: how long until it is killed (default 10s)' },
  interactive: { type: 'flag', short: 'i', help: 'not in this version' },
  tty: { type: 'flag', short: 't', help: 'not in this version' },
} as const satisfies OptionSpecs;

export interface RunOrder {
  readonly name: string;
  readonly image: string;
  readonly pod: Init<cri.PodSandboxConfig>;
  readonly container: Init<cri.ContainerConfig>;
}

/** The two configurations of CRI for one command line. @throws {UsageError} */
export function orderOf(
  options: OptionValues<typeof runOptions>,
  image: string,
  command: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
  logFolder: string,
): RunOrder {
  const name = options.name ?? `run-${randomBytes(3).toString('hex')}`;
  if (!/^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/.test(name) || name.length > 63) {
    throw new UsageError(`--name is letters, digits and "-", not "${name}"`);
  }
  const { net = 'cni' } = options;
  if (net !== 'cni' && net !== 'host') throw new UsageError(`--net is cni or host, not "${net}"`);
  const { POD, CONTAINER, NODE } = cri.NamespaceMode;
  const namespaceOptions = { network: net === 'host' ? NODE : POD, pid: CONTAINER, ipc: POD };
  const { privileged } = options;
  const metadata = { name, namespace: 'default', uid: randomUUID(), attempt: 0 };
  const labels = {
    [label.podName]: name,
    [label.podNamespace]: metadata.namespace,
    [label.podUid]: metadata.uid,
  };
  return {
    name,
    image,
    pod: {
      metadata,
      labels,
      logDirectory: logFolder,
      // Whoever uses the host's network has the host's name too.
      hostname: net === 'host' ? '' : name,
      portMappings: options.publish.map(portMapping),
      linux: { securityContext: { namespaceOptions, privileged } },
    },
    container: {
      metadata: { name, attempt: 0 },
      image: { image, userSpecifiedImage: image },
      labels: { ...labels, [label.containerName]: name },
      args: command,
      envs: options.env.map((text) => variable(text, environment)),
      mounts: options.volume.map(mount),
      workingDir: options.workdir ?? '',
      logPath: '0.log',
      linux: {
        securityContext: { namespaceOptions, ...userOf(options.user), ...(privileged ? { privileged } : confinement) },
      },
    },
  };
}

/** What kubelet asks for with each container, and nobody else would for one that is run by hand. */
const confinement: Init<cri.LinuxContainerSecurityContext> = {
  seccomp: { profileType: cri.SecurityProfile_ProfileType.RuntimeDefault },
  maskedPaths: [
    '/proc/asound',
    '/proc/acpi',
    '/proc/kcore',
    '/proc/keys',
    '/proc/latency_stats',
    '/proc/timer_list',
    '/proc/timer_stats',
    '/proc/sched_debug',
    '/proc/scsi',
    '/proc/interrupts',
    '/sys/firmware',
    '/sys/devices/virtual/powercap',
  ],
  readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
};

function variable(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
): { key: string; value: Uint8Array } {
  const at = text.indexOf('=');
  const key = at < 0 ? text : text.slice(0, at);
  if (key === '') throw new UsageError(`--env needs KEY=VALUE, not "${text}"`);
  return { key, value: Buffer.from(at < 0 ? (environment[key] ?? '') : text.slice(at + 1)) };
}

function mount(text: string): Init<cri.Mount> {
  const [host = '', containerPath = '', mode = 'rw', ...more] = text.split(':');
  const isPath = host.startsWith('/') || host.startsWith('.');
  if (!isPath || !containerPath.startsWith('/') || more.length > 0 || (mode !== 'rw' && mode !== 'ro')) {
    throw new UsageError(`--volume needs /HOST/PATH:/CONTAINER/PATH or that with :ro, not "${text}"`);
  }
  return { hostPath: resolve(host), containerPath, readonly: mode === 'ro' };
}

function portMapping(text: string): Init<cri.PortMapping> {
  const match =
    /^(?:(?<ip>[\d.]+|\[[\da-fA-F:]+\]):)?(?<host>\d+):(?<container>\d+)(?:\/(?<protocol>tcp|udp|sctp))?$/.exec(text);
  const { ip = '', host, container, protocol = 'tcp' } = match?.groups ?? {};
  const hostPort = Number(host);
  const containerPort = Number(container);
  if (match === null || hostPort > 65535 || containerPort > 65535) {
    throw new UsageError(`--publish needs PORT:CONTAINER_PORT, not "${text}"`);
  }
  const protocols = { tcp: cri.Protocol.TCP, udp: cri.Protocol.UDP, sctp: cri.Protocol.SCTP };
  return {
    hostIp: ip.replace(/[[\]]/g, ''),
    hostPort,
    containerPort,
    protocol: protocols[protocol as keyof typeof protocols],
  };
}

function userOf(text: string | undefined): Init<cri.LinuxContainerSecurityContext> {
  if (text === undefined) return {};
  const [user = '', group, ...more] = text.split(':');
  if (user === '' || more.length > 0 || (group !== undefined && !/^\d+$/.test(group))) {
    throw new UsageError(`--user needs a name or number, or that with :GROUP_NUMBER, not "${text}"`);
  }
  return {
    ...(/^\d+$/.test(user) ? { runAsUser: { value: BigInt(user) } } : { runAsUsername: user }),
    ...(group !== undefined && { runAsGroup: { value: BigInt(group) } }),
  };
}
