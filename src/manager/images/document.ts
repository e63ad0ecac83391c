import { Code, RpcError } from '../../grpc/index.ts';
import { digestOf, isDigest } from './digest.ts';
import type { ImageConfig } from './record.ts';

/** A reference from one document of an image to another blob (OCI image specification, "descriptor"). */
export interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
  annotations: Record<string, string>;
}

export interface Manifest {
  kind: 'manifest';
  config: Descriptor;
  /** Bottom first. */
  layers: Descriptor[];
}

export interface Index {
  kind: 'index';
  manifests: (Descriptor & { os: string; architecture: string; variant: string })[];
}

export interface ConfigDocument {
  config: ImageConfig;
  /** Digests of the layers, decompressed, bottom first. */
  diffIds: string[];
}

/** Manifests and indexes beyond this are refused, as registries do. */
export const mostManifestBytes = 4 * 1024 * 1024;
export const mostConfigBytes = 8 * 1024 * 1024;
export const mostLayers = 512;

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown) => (typeof value === 'string' ? value : '');
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const texts = (value: unknown) => list(value).filter((item) => typeof item === 'string');
const fields = (value: unknown): Fields => (isFields(value) ? value : {});
const textFields = (value: unknown) =>
  Object.fromEntries(
    Object.entries(fields(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );

function malformed(what: string, why: string): RpcError {
  return new RpcError(Code.FailedPrecondition, `${what}: ${why}; the image has to be built or pushed again`);
}

/** @throws RpcError DATA_LOSS unless the content has that digest */
export function checkDigest(content: Buffer, digest: string, what: string): void {
  const found = digestOf(content);
  if (found !== digest) throw new RpcError(Code.DataLoss, `${what} should be ${digest}, but what came is ${found}`);
}

function parseObject(content: Buffer, what: string, mostBytes: number): Fields {
  if (content.length > mostBytes) throw malformed(what, `it has more than ${mostBytes} bytes`);
  try {
    const value: unknown = JSON.parse(content.toString());
    if (isFields(value)) return value;
  } catch {
    // told below
  }
  throw malformed(what, 'it is no JSON object');
}

function descriptor(value: unknown, what: string): Descriptor {
  const { mediaType, digest, size, annotations } = fields(value);
  if (!isDigest(digest)) throw malformed(what, 'a blob of it has no sha256 digest');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0)
    throw malformed(what, `${digest} has no size`);
  return { mediaType: text(mediaType), digest, size, annotations: textFields(annotations) };
}

/**
 * Reads a manifest or an index, OCI's or Docker's (schema 2).
 * @param what how messages call it
 * @throws RpcError FAILED_PRECONDITION for what is neither
 */
export function parseManifest(content: Buffer, what: string): Manifest | Index {
  const document = parseObject(content, what, mostManifestBytes);
  if (document['schemaVersion'] !== 2) {
    throw malformed(what, 'its manifest is not of schema version 2, the only one that is supported');
  }
  if (Array.isArray(document['manifests']) && !('layers' in document) && !('config' in document)) {
    const manifests = document['manifests'].map((item) => {
      const { os, architecture, variant } = fields(fields(item)['platform']);
      return { ...descriptor(item, what), os: text(os), architecture: text(architecture), variant: text(variant) };
    });
    return { kind: 'index', manifests };
  }
  if (!Array.isArray(document['layers']) || 'manifests' in document)
    throw malformed(what, 'it is neither a manifest nor an index');
  const layers = document['layers'].map((item) => descriptor(item, what));
  if (layers.length > mostLayers) throw malformed(what, `it has more than ${mostLayers} layers`);
  return { kind: 'manifest', config: descriptor(document['config'], what), layers };
}

/** Reads an image's configuration. @throws RpcError FAILED_PRECONDITION when it is none, or for another system */
export function parseConfig(content: Buffer, what: string): ConfigDocument {
  const document = parseObject(content, what, mostConfigBytes);
  const os = text(document['os']);
  const { type, diff_ids: diffIds } = fields(document['rootfs']);
  if (type !== 'layers' || !Array.isArray(diffIds) || !diffIds.every(isDigest)) {
    throw malformed(what, 'its configuration is none of a container image');
  }
  if (os !== '' && os !== 'linux') throw new RpcError(Code.FailedPrecondition, `${what} is for ${os}, not for linux`);
  const config = fields(document['config']);
  return {
    diffIds,
    config: {
      user: text(config['User']),
      env: texts(config['Env']),
      entrypoint: texts(config['Entrypoint']),
      cmd: texts(config['Cmd']),
      workingDir: text(config['WorkingDir']),
      volumes: Object.keys(fields(config['Volumes'])),
      stopSignal: text(config['StopSignal']),
      labels: textFields(config['Labels']),
      architecture: text(document['architecture']),
      os,
    },
  };
}

/** As OCI calls what this machine is. */
export function hostArchitecture(): { architecture: string; variants: string[] } {
  switch (process.arch) {
    case 'x64':
      return { architecture: 'amd64', variants: ['', 'v1'] };
    case 'arm64':
      return { architecture: 'arm64', variants: ['v8', ''] };
    case 'arm':
      return { architecture: 'arm', variants: ['v7', 'v6', 'v5', ''] };
    case 'ia32':
      return { architecture: '386', variants: [''] };
    case 'ppc64':
      return { architecture: 'ppc64le', variants: [''] };
    default:
      return { architecture: process.arch, variants: [''] };
  }
}

/** The manifest of an index that is for this machine. @throws RpcError NOT_FOUND when none is */
export function chooseManifest(index: Index, what: string): Descriptor {
  const { architecture, variants } = hostArchitecture();
  const [only] = index.manifests;
  if (only !== undefined && index.manifests.length === 1 && only.os === '') return only;
  const fitting = index.manifests.filter(
    (manifest) => manifest.os === 'linux' && manifest.architecture === architecture,
  );
  for (const variant of variants) {
    const found = fitting.find((manifest) => manifest.variant === variant);
    if (found !== undefined) return found;
  }
  const offered = index.manifests
    .filter(({ os }) => os !== '' && os !== 'unknown')
    .map((m) => `${m.os}/${m.architecture}${m.variant && `/${m.variant}`}`);
  throw new RpcError(
    Code.NotFound,
    `${what} has no image for linux/${architecture}; it has ${offered.slice(0, 20).join(', ') || 'none'}`,
  );
}
