import { MalformedArchive } from './errors.ts';

/** For the file system: names are bytes, here as latin1 characters; Node would encode those beyond ASCII. */
export function toPath(name: string): string | Buffer {
  for (let i = 0; i < name.length; i++) {
    if (name.charCodeAt(i) > 0x7f) return Buffer.from(name, 'latin1');
  }
  return name;
}

/**
 * A path of an archive without "/" in front and behind, "." and "//"; '' is the root.
 * @throws MalformedArchive for one that leads out of the archive
 */
export function cleanPath(path: string): string {
  if (!/(?:^|\/)(?:\.{0,2}(?:\/|$))/.test(path)) return path;
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw new MalformedArchive(`${JSON.stringify(path)} leads out of the archive`);
  return parts.join('/');
}

export function parentOf(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
