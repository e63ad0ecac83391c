/** What the daemon and a process that unpacks say to each other, as JSON over Node's IPC channel. One task at a time. */

/** Unpacks a layer's blob into `folder`, an empty directory that will be the layer's root. */
export interface UnpackTask {
  kind: 'unpack';
  blob: string;
  folder: string;
  blobDigest: string;
  /** Of the blob, decompressed. */
  diffId: string;
}

/**
 * Gives a layer what it takes from those below it: attributes of directories that it does not name itself, and files that it only
 * links to.
 */
export interface InheritTask {
  kind: 'inherit';
  folder: string;
  /** Roots of the layers below, topmost first. */
  lowers: string[];
  inheritance: Inheritance;
}

/** Takes apart an archive that comes on the standard input: each of its files is put into `folder` under a number. */
export interface ExtractTask {
  kind: 'extract';
  folder: string;
}

export type Task = UnpackTask | InheritTask | ExtractTask;

/** Paths as the layer has them, bytes as latin1 characters, without "/" in front; '' is the root. */
export interface Inheritance {
  directories: string[];
  links: { path: string; target: string }[];
}

export interface Unpacked {
  bytes: number;
  inodes: number;
  inheritance: Inheritance;
}

export interface ExtractedFile {
  /** As the archive has it, without "./" in front. */
  name: string;
  /** Its name in the folder. */
  file: string;
  digest: string;
  size: number;
}

export interface Results {
  unpack: Unpacked;
  inherit: { bytes: number; inodes: number };
  extract: ExtractedFile[];
}

/** Why a task failed, as far as it matters to who asked. */
export type FailureKind =
  /** The bytes are not those that the digest promises. */
  | 'corrupt'
  /** The archive is malformed, or wants what is not allowed. */
  | 'malformed'
  | 'noSpace'
  /** It has taken too long: the daemon has ended it. */
  | 'late'
  | 'internal';

export type Answer =
  | { kind: 'ready' }
  /** Bytes of the blob or archive that have been taken so far. */
  | { kind: 'progress'; bytes: number }
  | { kind: 'done'; result: Results[Task['kind']] }
  | { kind: 'failed'; failure: FailureKind; message: string };
