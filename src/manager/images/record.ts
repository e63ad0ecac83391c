/** What an image says of how it is to be run; empty where it says nothing. */
export interface ImageConfig {
  user: string;
  env: string[];
  entrypoint: string[];
  cmd: string[];
  workingDir: string;
  volumes: string[];
  stopSignal: string;
  labels: Record<string, string>;
  architecture: string;
  os: string;
}

/** An image that is here, whole. */
export interface ImageRecord {
  /** The digest of its configuration: "sha256:" and 64 hex digits. */
  id: string;
  /** "docker.io/library/busybox:latest" */
  tags: string[];
  /** "docker.io/library/busybox@sha256:…": of its manifest, and of the index through which it was found. */
  digests: string[];
  /** Of its configuration and of its layers as the registry has them. */
  sizeBytes: number;
  config: ImageConfig;
  /** Of its layers, bottom first. */
  chainIds: string[];
  manifestDigest: string;
  /** When it first came here; nanoseconds since the epoch, decimal. */
  createdAt: string;
  /** It is not to be removed to free space. */
  pinned: boolean;
}

/** What is kept of an image. */
export interface StoredImage extends Omit<ImageRecord, 'pinned'> {
  /** Digests of all that it consists of in the blob store: indexes, manifest, configuration, layers. */
  blobs: string[];
  /** It was removed while a container used it: nobody sees it any more, its layers stay until that container has gone. */
  removed: boolean;
}

/** A layer that is unpacked. */
export interface StoredLayer {
  chainId: string;
  diffId: string;
  bytes: number;
  inodes: number;
  /** The boot in which it was unpacked, until it is known to be on the disk: '' then. */
  unsyncedSince: string;
}
