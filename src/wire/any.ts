import type { Codec, Init } from './codec.ts';
import type { Any } from './generated/google.protobuf.ts';

/** An Any holds something else than was expected; the message names both. */
export class AnyTypeError extends Error {
  override readonly name = 'AnyTypeError';
}

/** Type URLs of the OCI documents that travel as JSON inside an Any. */
export const ociType = {
  spec: 'types.containerd.io/opencontainers/runtime-spec/1/Spec',
  process: 'types.containerd.io/opencontainers/runtime-spec/1/Process',
  resources: 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources',
  features: 'types.containerd.io/opencontainers/runtime-spec/1/features/Features',
} as const;

/** Wraps a message. The type URL is the bare full name, as containerd writes it. */
export function packAny<T>(codec: Codec<T>, message: Init<T>): Any {
  return { typeUrl: codec.typeName, value: codec.encode(message) };
}

/** Wraps a document as JSON under a type URL such as `ociType.spec`. */
export function packJson(typeUrl: string, document: unknown): Any {
  return { typeUrl, value: Buffer.from(JSON.stringify(document)) };
}

/** Whether the Any holds that message. A prefix up to a slash, such as "type.googleapis.com/", is of no account. */
export function holds(any: Any, codec: Codec<unknown>): boolean {
  return any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1) === codec.typeName;
}

/**
 * Unwraps a message.
 * @throws {AnyTypeError} when the Any holds another type
 * @throws {DecodeError} when its bytes are no such message
 */
export function unpackAny<T>(codec: Codec<T>, any: Any): T {
  if (!holds(any, codec)) throw new AnyTypeError(`expected ${codec.typeName}, got ${any.typeUrl || 'no type'}`);
  return codec.decode(any.value);
}

/**
 * Parses the JSON inside an Any.
 * @param typeUrl what the Any must say it is; a slash in front is of no account
 * @throws {AnyTypeError} when the Any says something else, or holds no JSON
 */
export function unpackJson(typeUrl: string, any: Any): unknown {
  if (any.typeUrl.replace(/^\/+/, '') !== typeUrl) {
    throw new AnyTypeError(`expected ${typeUrl}, got ${any.typeUrl || 'no type'}`);
  }
  const text = Buffer.from(any.value.buffer, any.value.byteOffset, any.value.byteLength).toString('utf8');
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new AnyTypeError(`${typeUrl} holds no JSON: ${(error as Error).message}`, { cause: error });
  }
}
