import { readFileSync } from 'node:fs';
import { isSystemError } from '../../linux/index.ts';
import { cri } from '../../wire/index.ts';
import { podNamespaces } from './namespaces.ts';
import { refuse } from './refusal.ts';

const hostnamePattern = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;
/** The kernel's limit (uname(2)). */
const maxHostnameLength = 64;

/** Names and addresses must be single words: each is written into a line of a file. */
export function checkSandboxFiles({ hostname, dnsConfig }: cri.PodSandboxConfig): void {
  if (hostname !== '' && (hostname.length > maxHostnameLength || !hostnamePattern.test(hostname))) {
    refuse(
      'config.hostname',
      `${JSON.stringify(hostname)} is no host's name of at most ${maxHostnameLength} characters`,
    );
  }
  for (const list of ['servers', 'searches', 'options'] as const) {
    for (const [index, word] of (dnsConfig?.[list] ?? []).entries()) {
      if (!/^[!-~]+$/.test(word))
        refuse(`config.dnsConfig.${list}[${index}]`, `${JSON.stringify(word)} is not one word`);
    }
  }
}

/** Contents of files. */
export interface SandboxFileContents {
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
}

/**
 * What all containers of a pod see as /etc/hosts, /etc/hostname and /etc/resolv.conf. A pod on the host's network, and
 * one without a DNS configuration, has the host's own files. (Kubelet mounts a hosts file of its own over it.)
 * @param ips the pod's addresses, for its name; default none
 */
export function sandboxFiles(
  config: cri.PodSandboxConfig,
  hostname: string,
  ips: readonly string[] = [],
): SandboxFileContents {
  const onHost = podNamespaces(config).network === cri.NamespaceMode.NODE;
  const { dnsConfig } = config;
  return {
    hosts: onHost ? hostFile('/etc/hosts') : hosts(hostname, ips),
    hostname: `${hostname}\n`,
    resolvConf: dnsConfig === undefined ? hostFile('/etc/resolv.conf') : resolvConf(dnsConfig),
  };
}

function hosts(hostname: string, ips: readonly string[]): string {
  const lines = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::\tip6-localnet',
    'ff00::\tip6-mcastprefix',
    'ff02::1\tip6-allnodes',
    'ff02::2\tip6-allrouters',
    ...(hostname === '' ? [] : ips.map((ip) => `${ip}\t${hostname}`)),
  ];
  return `${lines.join('\n')}\n`;
}

function resolvConf({ servers, searches, options }: cri.DNSConfig): string {
  const lines = [
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...servers.map((server) => `nameserver ${server}`),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

function hostFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return '';
    throw error;
  }
}
