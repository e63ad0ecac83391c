import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cniPlugins } from './cni.ts';
import { CriDaemon } from './cri-daemon.ts';
import type { Place } from './mount-namespace.ts';
import { berthdBinary, type OciRuntime, ociRuntimes } from './paths.ts';
import { type Mirrors, registriesConf } from './registry.ts';
import type { Scratch } from './scratch.ts';

/** What is the same for every daemon that serves CRI. */
export interface CriSetup {
  scratch: Scratch;
  place: Place;
  /** Its folders and files are made there; short, since the paths of sockets below it are bounded. */
  folder: string;
  /** Where conflists are. */
  cniConfDir: string;
  /** Where images come from. Default: from nowhere but where their names say. */
  mirrors?: Mirrors;
  /** Default runc. */
  runtime?: OciRuntime;
  /** Default debug. */
  logLevel?: 'debug' | 'info';
}

export interface BerthdSetup extends CriSetup {
  /** Its configuration file, in TOML, besides what flags say. Default: an empty one. */
  config?: string;
  /** Flags after all others, such as `--log-level=trace`. */
  flags?: readonly string[];
  environment?: Readonly<Record<string, string>>;
}

/** berthd with all that it keeps below `folder`: content in root/, state in run/, its socket there. Not started yet. */
export function berthd(setup: BerthdSetup): CriDaemon {
  const { scratch, place, folder, cniConfDir, mirrors = {}, runtime = 'runc', logLevel = 'debug' } = setup;
  const { flags = [], environment = {} } = setup;
  const path = (name: string) => join(folder, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(path('berthd.toml'), setup.config ?? '');
  writeFileSync(path('registries.conf'), registriesConf(mirrors));
  const socket = path('run/berth.sock');
  const argv = [
    berthdBinary,
    `--config=${path('berthd.toml')}`,
    `--root=${path('root')}`,
    `--state=${path('run')}`,
    `--socket=${socket}`,
    `--cni-conf-dir=${cniConfDir}`,
    `--cni-bin-dir=${cniPlugins}`,
    `--registries-conf=${path('registries.conf')}`,
    `--default-runtime=${runtime}`,
    `--log-level=${logLevel}`,
    ...flags,
  ] as const;
  return new CriDaemon({ scratch, place, socket, argv: [...argv], environment, logPath: path('berthd.log') });
}

/** Debian's containerd with its CRI plugin, its own shim and an OCI runtime; not started yet. Its place must have a /run of its own. */
export function containerd(setup: CriSetup): CriDaemon {
  const { scratch, place, folder, cniConfDir, mirrors = {}, runtime = 'runc', logLevel = 'debug' } = setup;
  const path = (name: string) => join(folder, name);
  mkdirSync(folder, { recursive: true });
  for (const [name, registry] of Object.entries(mirrors)) {
    mkdirSync(path(`certs.d/${name}`), { recursive: true });
    const hosts = [
      `server = "http://${registry}"`,
      `[host."http://${registry}"]`,
      'capabilities = ["pull", "resolve"]',
    ];
    writeFileSync(path(`certs.d/${name}/hosts.toml`), `${hosts.join('\n')}\n`);
  }
  const plugin = 'plugins."io.containerd.grpc.v1.cri"';
  const socket = path('containerd.sock');
  const lines = [
    'version = 2',
    `root = "${path('root')}"`,
    `state = "${path('run')}"`,
    `disabled_plugins = ${JSON.stringify(disabledPlugins)}`,
    '[grpc]',
    `address = "${socket}"`,
    '[debug]',
    `level = "${logLevel}"`,
    `[${plugin}]`,
    'sandbox_image = "registry.k8s.io/pause:3.9"',
    'restrict_oom_score_adj = true',
    'netns_mounts_under_state_dir = true',
    `[${plugin}.cni]`,
    `bin_dir = "${cniPlugins}"`,
    `conf_dir = "${cniConfDir}"`,
    `[${plugin}.registry]`,
    `config_path = "${path('certs.d')}"`,
    `[${plugin}.containerd.runtimes.runc]`,
    'runtime_type = "io.containerd.runc.v2"',
    `[${plugin}.containerd.runtimes.runc.options]`,
    `BinaryName = "${ociRuntimes[runtime]}"`,
  ];
  writeFileSync(path('containerd.toml'), `${lines.join('\n')}\n`);
  const argv = ['containerd', '--config', path('containerd.toml')] as const;
  return new CriDaemon({ scratch, place, socket, argv: [...argv], logPath: path('containerd.log') });
}

/** What is not needed and would touch the machine outside the folder. */
const disabledPlugins = [
  'io.containerd.internal.v1.opt',
  'io.containerd.snapshotter.v1.aufs',
  'io.containerd.snapshotter.v1.btrfs',
  'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs',
];
