import type { cri } from '../../wire/index.ts';
import type { ImageDefaults } from './input.ts';
import { refuse } from './refusal.ts';

const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export function checkEnvironment(envs: readonly cri.KeyValue[], field: string): void {
  for (const [index, { key, value }] of envs.entries()) {
    const at = `${field}[${index}]`;
    if (key === '' || /[=\0]/.test(key)) refuse(`${at}.key`, `${JSON.stringify(key)} is no name of a variable`);
    if (value.includes(0)) refuse(`${at}.value`, `the value of ${key} contains a NUL byte`);
    if (!isUtf8(value))
      refuse(`${at}.value`, `the value of ${key} is not UTF-8, and config.json can hold nothing else`);
  }
}

/**
 * The variables, later ones over earlier: PATH, TERM for a terminal, HOSTNAME, the image's, the container's. A variable
 * keeps the place where it was first set. An entry of the image without `=` takes a variable away, as with the peers.
 */
export function environment(
  { envs, tty }: Pick<cri.ContainerConfig, 'envs' | 'tty'>,
  image: Pick<ImageDefaults, 'env'>,
  hostname: string,
): string[] {
  const variables = new Map([['PATH', searchPath]]);
  if (tty) variables.set('TERM', 'xterm');
  variables.set('HOSTNAME', hostname);
  for (const entry of image.env) {
    if (entry.includes('\0')) continue;
    const separator = entry.indexOf('=');
    if (separator < 0) variables.delete(entry);
    else if (separator > 0) variables.set(entry.slice(0, separator), entry.slice(separator + 1));
  }
  for (const { key, value } of envs) variables.set(key, Buffer.from(value).toString('utf8'));
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
