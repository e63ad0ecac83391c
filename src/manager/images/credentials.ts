import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import type { Reference } from './reference.ts';

/** CRI's AuthConfig: what a caller knows to be let in; '' for what it does not have. */
export interface Credentials {
  username?: string;
  password?: string;
  /** base64 of "username:password" */
  auth?: string;
  /** For a token of the registry's token service (OAuth 2 refresh token). */
  identityToken?: string;
  /** Sent to the registry as it is. */
  registryToken?: string;
  /** The registry that they are for; '' for whichever the image is of. */
  serverAddress?: string;
}

interface Entry {
  auth: string;
  identitytoken?: string;
}

/**
 * The file with credentials for skopeo (containers-auth.json(5)), in a folder that is the caller's to remove; undefined when there are
 * none to give. It is the configured file; a caller's own credentials come with no more of it than what is for the same registry.
 * @throws RpcError INVALID_ARGUMENT, UNIMPLEMENTED
 */
export function writeAuthFile(
  reference: Reference,
  credentials: Credentials,
  configured: string,
  folder: string,
): string | undefined {
  const entry = entryFor(reference, credentials);
  if (entry === undefined) return configured === '' ? undefined : configured;
  const auths = { ...configuredAuths(configured, reference.registry), [reference.name]: entry };
  const path = join(folder, 'auth.json');
  writeFileSync(path, JSON.stringify({ auths }), { mode: 0o600, flag: 'wx' });
  return path;
}

/** Tells callers apart without keeping what they know: whoever joins a pull must have the same credentials. */
export function credentialsKey(c: Credentials): string {
  const fields = [c.username, c.password, c.auth, c.identityToken, c.registryToken, c.serverAddress];
  return createHash('sha256')
    .update(JSON.stringify(fields.map((field) => field ?? '')))
    .digest('hex');
}

function entryFor(reference: Reference, c: Credentials): Entry | undefined {
  const has = (field: string | undefined): field is string => field !== undefined && field !== '';
  if (has(c.serverAddress) && hostOf(c.serverAddress) !== reference.registry) return undefined;
  if (has(c.username)) {
    if (c.username.includes(':'))
      throw new RpcError(Code.InvalidArgument, 'the user name of the credentials has a colon');
    return { auth: Buffer.from(`${c.username}:${c.password ?? ''}`).toString('base64') };
  }
  if (has(c.identityToken)) return { auth: Buffer.from('<token>:').toString('base64'), identitytoken: c.identityToken };
  if (has(c.auth)) {
    const decoded = Buffer.from(c.auth, 'base64').toString().replace(/\0+$/, '');
    if (!decoded.includes(':'))
      throw new RpcError(Code.InvalidArgument, 'the credentials\' "auth" is not base64 of USERNAME:PASSWORD');
    return { auth: Buffer.from(decoded).toString('base64') };
  }
  if (has(c.registryToken)) {
    const advice = 'give a user name and a password, or an identity token';
    throw new RpcError(
      Code.Unimplemented,
      `pulling ${reference.name} with a registry token is not supported: ${advice}`,
    );
  }
  return undefined;
}

function hostOf(serverAddress: string): string {
  const host = serverAddress.replace(/^[a-z]+:\/\//, '').replace(/\/.*$/s, '');
  return host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
}

function configuredAuths(path: string, registry: string): Record<string, unknown> {
  if (path === '') return {};
  const { auths } = JSON.parse(readFileSync(path, 'utf8')) as { auths?: Record<string, unknown> };
  return Object.fromEntries(Object.entries(auths ?? {}).filter(([name]) => hostOf(name) === registry));
}
