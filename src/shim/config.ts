/** Environment and limits of OCI runtimes and loggers: those that the shim itself was started with. */
export interface ChildSurroundings {
  env: string[];
  /** Soft limit of open files; Node raises its own. Absent: the shim's. */
  openFiles?: number;
}

/** What the shim takes from its environment; read once, in main.ts. */
export interface ShimConfig {
  /** The shim's own program: what it becomes when it sleeps, and what a sandbox's process is made from. */
  selfPath: string;
  /** PATH: where runtimes are looked up. */
  searchPath: string;
  /** The OCI runtime for containers whose options name none. Default: `runc` if it is installed, else `crun`. */
  defaultRuntime: string;
  /** How long one call of the OCI runtime may take, seconds. Default 120. */
  runtimeTimeoutSeconds: number;
  /** Idle seconds before the shim goes to sleep; 0: never. Default 5. */
  sleepAfterSeconds: number;
  /** The folder of containerd's shim sockets. Default /run/containerd/s. */
  socketFolder: string;
  /** Where events go (TTRPC_ADDRESS). */
  eventsAddress: string;
  /** The highest shim protocol version that the caller knows (MAX_SHIM_VERSION), 0: it does not say. */
  maxShimVersion: number;
  /** Give all processes of the sandbox a core scheduling cookie of their own (SCHED_CORE). */
  coreScheduling: boolean;
  /** The environment for the program images that take the shim's place. */
  environment: string[];
  /** What programs that the shim runs are given. */
  children: ChildSurroundings;
}

/** Variables that are between the shim and whoever started it, and no business of runtimes and loggers. */
const handoverVariables = /^BERTH_(HANDOVER|PUMP|KEEPER|WAKE|WAKE_AFTER_MS|KEEP|WOKEN_BY|WOKEN_AT|EVENTS|RESULT_FD)=/;
const ownVariables = /^(BERTH_|SHIM_SOCKET_DIR=|MAX_SHIM_VERSION=|NOTIFY_SOCKET=|LISTEN_)/;

export function readConfig(env: NodeJS.ProcessEnv, selfPath: string): ShimConfig {
  const environment = Object.entries(env).map(([name, value]) => `${name}=${value ?? ''}`);
  const openFiles = positive(env['BERTH_OPEN_FILES'], 0);
  return {
    selfPath,
    searchPath: env['PATH'] ?? '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    defaultRuntime: env['BERTH_RUNTIME'] ?? '',
    runtimeTimeoutSeconds: positive(env['BERTH_RUNTIME_TIMEOUT_SECONDS'], 120),
    sleepAfterSeconds: positive(env['BERTH_SLEEP_AFTER_SECONDS'], 5),
    socketFolder: env['SHIM_SOCKET_DIR'] ?? '/run/containerd/s',
    eventsAddress: env['TTRPC_ADDRESS'] ?? '',
    maxShimVersion: positive(env['MAX_SHIM_VERSION'], 0),
    coreScheduling: (env['SCHED_CORE'] ?? '') !== '',
    environment: environment.filter((variable) => !handoverVariables.test(variable)),
    children: {
      env: environment.filter((variable) => !ownVariables.test(variable)),
      ...(openFiles > 0 ? { openFiles } : {}),
    },
  };
}

function positive(text: string | undefined, otherwise: number): number {
  return text !== undefined && /^[0-9]{1,9}$/.test(text) ? Number(text) : otherwise;
}
