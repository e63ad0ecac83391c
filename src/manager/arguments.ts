import { parseArgs } from 'node:util';
import { type ConfigFlags, defaultConfigFile } from './config/index.ts';

/** What berthd is asked to do. */
export type Command =
  | { readonly kind: 'serve' | 'dump'; readonly file: string | undefined; readonly flags: ConfigFlags }
  | { readonly kind: 'check'; readonly file: string | undefined }
  | { readonly kind: 'default' | 'version' | 'help' };

/** The command line is wrong; the message says how. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const help = `usage: berthd [FLAG…]                      run the daemon
       berthd [FLAG…] config dump          print the configuration in force: flags, then file, then defaults
       berthd config check [FILE]          say what is wrong in a configuration file
       berthd config default               print a commented configuration file with all keys

berthd runs the pods and containers that kubelet (CRI) or berthctl asks for. It can be stopped, killed, restarted and upgraded at
any moment: containers run on, and what happened meanwhile is told afterwards.

  --config FILE           configuration (default ${defaultConfigFile}, which may be missing)
  --root FOLDER           content that lasts: images, the store (default /var/lib/berth)
  --state FOLDER          what lasts until the next boot: sockets, bundles (default /run/berth)
  --socket PATH           where CRI is served (default berth.sock in the state folder)
  --cni-conf-dir FOLDER   CNI configuration (default /etc/cni/net.d)
  --cni-bin-dir FOLDER    CNI plugins; repeat it for more (default /opt/cni/bin, /usr/lib/cni)
  --registries-conf FILE  containers-registries.conf(5), for mirrors (default: the host's own)
  --default-runtime NAME  runtime of pods that name none (default: crun or runc, what works)
  --log-level LEVEL       trace, debug, info, warn, error, fatal or silent (default info)
  --version               print the version
  --help                  print this

A second berthd on one machine needs --root, --state and a --cni-conf-dir with another bridge of its own.

When something is wrong:
  berthctl doctor             checks kernel, cgroups, runtimes, CNI and permissions, and says how to mend what is wrong
  berthctl info               what this daemon runs, and with which configuration
  journalctl -u berthd -e     its log; more of it at once, without a restart: berthctl log-level debug
  systemctl restart berthd    is safe: no container stops, no log line and no exit code is lost

Signals: SIGTERM, SIGINT and SIGHUP finish running calls and end it; a second one ends it at once. Containers run on either way.
Exit codes: 0 stopped as asked, 1 failed, 2 wrong command line or configuration, 3 another berthd uses these folders.
`;

const options = {
  config: { type: 'string' },
  root: { type: 'string' },
  state: { type: 'string' },
  socket: { type: 'string' },
  'cni-conf-dir': { type: 'string' },
  'cni-bin-dir': { type: 'string', multiple: true },
  'registries-conf': { type: 'string' },
  'default-runtime': { type: 'string' },
  'log-level': { type: 'string' },
  version: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** @throws {UsageError} */
export function parseCommand(args: readonly string[]): Command {
  const { values, positionals } = parse(args);
  if (values.help === true) return { kind: 'help' };
  if (values.version === true) return { kind: 'version' };
  const file = values.config;
  const flags: ConfigFlags = {
    root: values.root,
    state: values.state,
    socket: values.socket,
    cniConfDir: values['cni-conf-dir'],
    cniBinDirs: values['cni-bin-dir'],
    registriesConf: values['registries-conf'],
    defaultRuntime: values['default-runtime'],
    logLevel: values['log-level'],
  };
  const [command, action, ...rest] = positionals;
  if (command === undefined) return { kind: 'serve', file, flags };
  if (command !== 'config') throw new UsageError(`berthd has no command "${command}": there is only "config"`);
  if (action === 'check' && rest.length <= 1) return { kind: 'check', file: rest[0] ?? file };
  if (action === 'dump' && rest.length === 0) return { kind: 'dump', file, flags };
  if (action === 'default' && rest.length === 0) return { kind: 'default' };
  throw new UsageError('"berthd config" is followed by one of: default, check [FILE], dump');
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    // Node's advice on "--" is for programs that take any argument.
    const [what = ''] = (error as Error).message.split('. To specify');
    throw new UsageError(what, { cause: error });
  }
}
