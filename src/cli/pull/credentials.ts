import type { cri, Init } from '../../wire/index.ts';
import { UsageError } from '../failure.ts';
import type { OptionSpecs, OptionValues } from '../options.ts';

export const credentialOptions = {
  creds: { type: 'text', value: 'USER[:PASSWORD]', help: 'log in to the registry with these (or CRICTL_CREDS)' },
  auth: { type: 'text', value: 'BASE64', help: 'the same in base64, as in a docker configuration (or CRICTL_AUTH)' },
  'pull-timeout': { type: 'duration', help: 'give up after so long (default: never)' },
} as const satisfies OptionSpecs;

/** Undefined when none were given. @throws {UsageError} */
export function credentials(
  options: OptionValues<typeof credentialOptions>,
  environment: Readonly<Record<string, string | undefined>>,
): Init<cri.AuthConfig> | undefined {
  const { creds = environment['CRICTL_CREDS'], auth = environment['CRICTL_AUTH'] } = options;
  if (creds !== undefined && auth !== undefined) throw new UsageError('--creds and --auth do not go together');
  if (auth !== undefined) return { auth };
  if (creds === undefined) return undefined;
  const { username, password } = split(creds);
  if (username === '') throw new UsageError('--creds needs USER or USER:PASSWORD');
  return { username, password };
}

/** User name and password, also of credentials in base64. */
export function userAndPassword(auth: Init<cri.AuthConfig> | undefined): { username: string; password: string } {
  if (auth?.auth !== undefined && auth.auth !== '') return split(Buffer.from(auth.auth, 'base64').toString());
  return { username: auth?.username ?? '', password: auth?.password ?? '' };
}

function split(creds: string): { username: string; password: string } {
  const at = creds.indexOf(':');
  return at < 0 ? { username: creds, password: '' } : { username: creds.slice(0, at), password: creds.slice(at + 1) };
}
