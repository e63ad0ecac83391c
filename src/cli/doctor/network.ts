import { join } from 'node:path';
import { failure, type Finding, ok, warning } from './finding.ts';
import type { Host } from './host.ts';

export interface NetworkPlaces {
  readonly confDir: string;
  readonly binDirs: readonly string[];
}

interface Plugin {
  readonly type: string;
  readonly ipam: string | undefined;
  readonly needsFirewall: boolean;
}

const example =
  '{"cniVersion":"1.0.0","name":"pods","plugins":[{"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.88.0.0/16"}]]}},{"type":"portmap","capabilities":{"portMappings":true}}]}';

/** Whether pods can have a network of their own. */
export async function checkNetwork(host: Host, { confDir, binDirs }: NetworkPlaces): Promise<Finding[]> {
  const what = 'network';
  const files = ((await host.list(confDir)) ?? []).filter((name) => /\.(conf|conflist|json)$/.test(name)).toSorted();
  const [first] = files;
  if (first === undefined) {
    return [
      failure(
        what,
        `no CNI configuration in ${confDir}: only pods on the host's network run`,
        `mkdir -p ${confDir} && echo '${example}' > ${confDir}/10-pods.conflist`,
      ),
    ];
  }
  // The first is the one that is used.
  const path = join(confDir, first);
  const plugins = pluginsOf((await host.read(path)) ?? '');
  if (plugins === undefined || plugins.length === 0) {
    return [
      failure(what, `${path} is no CNI configuration`, `berthd logs why; correct it, or: mv ${path} ${path}.broken`),
    ];
  }
  const programs = [...new Set(plugins.flatMap(({ type, ipam }) => (ipam === undefined ? [type] : [type, ipam])))];
  const missing: string[] = [];
  for (const program of programs) if ((await host.find(program, binDirs)) === undefined) missing.push(program);
  if (missing.length > 0) {
    return [
      failure(
        what,
        `${path} needs the plugins ${missing.join(', ')}, which are not in ${binDirs.join(' or ')}`,
        'apt-get install containernetworking-plugins',
      ),
    ];
  }
  if (
    plugins.some(({ needsFirewall }) => needsFirewall) &&
    !(await host.find('iptables')) &&
    !(await host.find('nft'))
  ) {
    return [
      failure(
        what,
        `${path} masquerades or maps ports, and there is neither iptables nor nft`,
        'apt-get install iptables',
      ),
    ];
  }
  const more =
    files.length > 1 ? warning(what, `${confDir} has ${files.length} configurations; ${first} is used`) : undefined;
  return [more ?? ok(what, `${path}: ${programs.join(', ')}`)];
}

function pluginsOf(text: string): Plugin[] | undefined {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { plugins } = objectOf(content);
  const list: readonly unknown[] = Array.isArray(plugins) ? plugins : [content];
  return list.flatMap((one) => {
    const { type, ipam, ipMasq } = objectOf(one);
    if (typeof type !== 'string') return [];
    const ipamType = objectOf(ipam)['type'];
    return [
      {
        type,
        ipam: typeof ipamType === 'string' && ipamType !== '' ? ipamType : undefined,
        needsFirewall: type === 'portmap' || type === 'firewall' || ipMasq === true,
      },
    ];
  });
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
