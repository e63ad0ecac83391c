import type { LevelWithSilent } from 'pino';

/** What berthd is told by its configuration file and flags; see `berthd config default` for the same with comments. */
export interface Config {
  /** Content that lasts: images, the store. Default /var/lib/berth. */
  readonly root: string;
  /** What lasts until the next boot: sockets, bundles, network namespaces. Default /run/berth. */
  readonly state: string;
  /** Where CRI is served. Default STATE/berth.sock. */
  readonly socket: string;
  readonly log: { readonly level: LevelWithSilent };
  readonly runtimes: {
    /** A name of `handlers`; '' chooses by what works on the host. */
    readonly default: string;
    readonly handlers: Readonly<Record<string, RuntimeConfig>>;
  };
  /** How many shims wait, started, for the next pod. Default 1. */
  readonly shimPoolSize: number;
  readonly network: {
    /** Default /etc/cni/net.d. */
    readonly confDir: string;
    /** Searched in order. Default /opt/cni/bin, /usr/lib/cni. */
    readonly binDirs: readonly string[];
    /** A template for UpdateRuntimeConfig's pod CIDR; '' for none. */
    readonly confTemplate: string;
    /** How many conflists of the folder are used. Default 1. */
    readonly maxConfNum: number;
  };
  readonly images: {
    /** containers-registries.conf(5); '' for the host's own. */
    readonly registriesConf: string;
    /** containers-policy.json(5); '' for the host's own, or accept-anything where it has none. */
    readonly policy: string;
    /** containers-auth.json(5); '' for none. */
    readonly authFile: string;
    /** Layers unpacked at once. Default: the number of processors. */
    readonly unpackConcurrency: number;
    /** A pull without progress for so long fails. Default 60. */
    readonly pullProgressTimeoutSeconds: number;
  };
  readonly cgroups: {
    /** '' chooses: systemd where it is the init and cgroups are v2, else cgroupfs. */
    readonly driver: '' | 'cgroupfs' | 'systemd';
  };
  readonly security: {
    /** Path of the runtime/default seccomp profile; '' for Debian's /usr/share/containers/seccomp.json. */
    readonly seccompProfile: string;
  };
  readonly limits: {
    /** Bytes of stdout and of stderr that ExecSync keeps. Default 16 MiB. */
    readonly execSyncOutputBytes: number;
    /** Events kept for subscribers. Default 100,000. */
    readonly eventsKept: number;
    /** How long running calls have to end when berthd is told to stop. Default 10. */
    readonly shutdownSeconds: number;
  };
}

/** One runtime handler. */
export interface RuntimeConfig {
  /** An OCI runtime under our shim: a name in PATH or an absolute path; '' with `shim` set. */
  readonly binary: string;
  /** Another containerd shim v2 binary: a name in PATH or an absolute path; '' for ours. */
  readonly shim: string;
  /** Where the OCI runtime keeps its state; '' for its default under ours. */
  readonly root: string;
}
