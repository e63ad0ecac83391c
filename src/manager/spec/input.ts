import type { Spec } from '../../oci/index.ts';
import type { cri } from '../../wire/index.ts';
import type { ImageAccounts } from './image-accounts.ts';
import type { HostFacts } from './host.ts';

/** What an image says of the containers that are made from it (the OCI image specification's `config`). */
export interface ImageDefaults {
  /** "", "user", "uid", "user:group" or "uid:gid", or mixed. */
  readonly user: string;
  /** `NAME=value` */
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  /** Paths in the container. */
  readonly volumes: readonly string[];
  /** A name or a number; '' for none. */
  readonly stopSignal: string;
}

/** The pod that a container is made in. */
export interface SpecSandbox {
  readonly id: string;
  /** As RunPodSandbox got it. */
  readonly config: cri.PodSandboxConfig;
  /** Of the pinned network namespace; '' for the host's network. */
  readonly netnsPath: string;
  /** The process that holds the pod's IPC, UTS and PID namespaces. */
  readonly pid: number;
  /** Files that every container of the pod sees under /etc; '' leaves the image's own. */
  readonly hostsPath: string;
  readonly hostnamePath: string;
  readonly resolvConfPath: string;
  /** '' for the host's. */
  readonly hostname: string;
}

export interface SpecContainer {
  readonly id: string;
  readonly config: cri.ContainerConfig;
  readonly bundle: string;
  /** Folders that stand in for the image's volumes; they must be there. */
  readonly volumes: readonly { readonly hostPath: string; readonly containerPath: string }[];
  /** A process of the container whose PID namespace is shared (NamespaceMode TARGET). */
  readonly targetPid?: number;
}

/** All that a container's OCI specification depends on. */
export interface SpecInput {
  readonly sandbox: SpecSandbox;
  readonly container: SpecContainer;
  readonly image: {
    readonly record: { readonly id: string; readonly config: ImageDefaults };
    /** Absolute folders, topmost first. */
    readonly layers: readonly string[];
  };
  /** The name of the configured runtime. */
  readonly runtimeHandler: string;
  readonly host: HostFacts;
  /** Looks users and groups up in images. */
  readonly accounts: ImageAccounts;
}

/** Whom a container's first process runs as. */
export interface ResolvedUser {
  readonly uid: number;
  readonly gid: number;
  /** Ascending; the primary group is one of them. */
  readonly additionalGids: readonly number[];
}

export interface BuiltSpec {
  readonly spec: Spec;
  readonly user: ResolvedUser;
  /** What was asked for and is not given, where the container can do without: for the log. */
  readonly warnings: readonly string[];
}
