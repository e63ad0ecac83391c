import { cri, type Init } from '../../wire/index.ts';
import type { PodNetwork } from '../network/index.ts';
import type { Layout } from '../pods/index.ts';
import type { HostFacts } from '../spec/index.ts';

const kubeletApiVersion = '0.1.0';
const criVersion = 'v1';

export interface RuntimeStatusOptions {
  readonly version: string;
  readonly network: PodNetwork;
  readonly host: HostFacts;
  readonly layout: Layout;
  /** Names of the configured runtimes, and the default one's. */
  readonly handlers: readonly string[];
  readonly defaultHandler: string;
  /** Why it is that one, or why there is none. */
  readonly defaultReason: string;
  /** The configuration in force. */
  readonly config: unknown;
}

/** What the daemon says of itself: Version, Status and RuntimeConfig. */
export class RuntimeStatus {
  readonly #o: RuntimeStatusOptions;

  constructor(options: RuntimeStatusOptions) {
    this.#o = options;
  }

  get layout(): Layout {
    return this.#o.layout;
  }

  version(): Init<cri.VersionResponse> {
    return {
      version: kubeletApiVersion,
      runtimeName: 'berth',
      runtimeVersion: this.#o.version,
      runtimeApiVersion: criVersion,
    };
  }

  status(verbose: boolean): Init<cri.StatusResponse> {
    const network = this.#o.network.status();
    const features = { recursiveReadOnlyMounts: this.#o.host.recursiveReadOnly, userNamespaces: false };
    const isUsable = this.#o.defaultHandler !== '';
    const runtime = isUsable
      ? { type: 'RuntimeReady', status: true, reason: '', message: '' }
      : { type: 'RuntimeReady', status: false, reason: 'NoRuntime', message: this.#o.defaultReason };
    return {
      status: {
        conditions: [
          runtime,
          { type: 'NetworkReady', status: network.ready, reason: network.reason, message: network.message },
        ],
      },
      runtimeHandlers: ['', ...this.#o.handlers].map((name) => ({ name, features })),
      features: { supplementalGroupsPolicy: true, userNamespacesHostNetwork: false },
      info: verbose
        ? {
            config: JSON.stringify(this.#o.config),
            cniconfig: JSON.stringify(this.#o.network.conflists()),
            host: JSON.stringify(this.#o.host),
            defaultRuntime: JSON.stringify(this.#o.defaultHandler),
          }
        : {},
    };
  }

  config(): Init<cri.RuntimeConfigResponse> {
    const { SYSTEMD, CGROUPFS } = cri.CgroupDriver;
    return { linux: { cgroupDriver: this.#o.host.cgroup.driver === 'systemd' ? SYSTEMD : CGROUPFS } };
  }
}
