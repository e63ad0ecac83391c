import { Code, RpcError } from '../../grpc/index.ts';
import { isDigest } from './digest.ts';

/** A name of an image, complete: what "busybox" means is spelled out. */
export interface Reference {
  /** Host and perhaps port: "docker.io", "127.0.0.1:5000". */
  registry: string;
  /** "docker.io/library/busybox" */
  name: string;
  /** "latest"; '' with a digest alone. */
  tag: string;
  /** "sha256:…"; '' without. With a tag beside it the digest decides. */
  digest: string;
}

/** No reference that is in use comes near; it bounds what the patterns below look at. */
const mostCharacters = 512;
const mostNameCharacters = 255;

const domainPattern =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$/;
const componentPattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/**
 * Reads a reference as Docker and containerd do: "busybox" is docker.io/library/busybox:latest. Nothing that passes can be taken for
 * an option, a path or another transport.
 * @throws RpcError INVALID_ARGUMENT
 */
export function parseReference(text: string): Reference {
  const refuse = (why: string): never => {
    const shown = JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
    throw new RpcError(Code.InvalidArgument, `${shown} is no image reference: ${why}`);
  };
  if (text === '') return refuse('it is empty');
  if (text.length > mostCharacters) return refuse(`it has more than ${mostCharacters} characters`);

  const at = text.indexOf('@');
  const digest = at < 0 ? '' : text.slice(at + 1);
  if (at >= 0 && !isDigest(digest)) return refuse('after "@" a digest is expected: sha256: and 64 hex digits');
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(':');
  const hasTag = colon > rest.lastIndexOf('/');
  const tag = hasTag ? rest.slice(colon + 1) : digest === '' ? 'latest' : '';
  if (hasTag && !tagPattern.test(tag)) return refuse('its tag has characters that a tag cannot have');

  const { registry, path } = splitName(hasTag ? rest.slice(0, colon) : rest);
  if (!domainPattern.test(registry)) return refuse('its registry is no host name');
  if (!path.split('/').every((component) => componentPattern.test(component))) {
    return refuse('a repository is of lower-case letters, digits and single separators');
  }
  const name = `${registry}/${path}`;
  if (name.length > mostNameCharacters) return refuse(`its name has more than ${mostNameCharacters} characters`);
  if (/^[a-f0-9]{64}$/.test(text)) return refuse('64 hex digits are an id');
  return { registry, name, tag, digest };
}

function splitName(name: string): { registry: string; path: string } {
  const slash = name.indexOf('/');
  const first = name.slice(0, Math.max(slash, 0));
  const isHost = slash > 0 && (/[.:A-Z]/.test(first) || first === 'localhost');
  const registry = !isHost || first === 'index.docker.io' ? 'docker.io' : first;
  const path = isHost ? name.slice(slash + 1) : name;
  return { registry, path: registry === 'docker.io' && !path.includes('/') ? `library/${path}` : path };
}

/** "docker.io/library/busybox:latest"; with a digest, "docker.io/library/busybox@sha256:…". */
export function referenceText({ name, tag, digest }: Reference): string {
  return digest !== '' ? `${name}@${digest}` : `${name}:${tag}`;
}
