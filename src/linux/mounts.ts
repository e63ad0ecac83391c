import { readFileSync } from 'node:fs';
import { isSystemError } from './errors.ts';
import type { NativeAddon } from './native.ts';

/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
export interface MountPoint {
  id: number;
  parentId: number;
  /** `major:minor` */
  device: string;
  /** The folder of the file system that is mounted. */
  root: string;
  path: string;
  /** Options of this mount. */
  options: string[];
  /** `shared:n`, `master:n`, `propagate_from:n`, `unbindable` */
  propagation: string[];
  type: string;
  source: string;
  /** Options of the file system. */
  superOptions: string[];
}

const detach = 2;
const doNotFollow = 8;

/** The mounts in the order in which the kernel lists them: one that was made later, or lies under another, comes after it. */
export function parseMountInfo(text: string): MountPoint[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map(parseLine);
}

function parseLine(line: string): MountPoint {
  const fields = line.split(' ');
  const separator = fields.indexOf('-', 6);
  const [id, parentId, device, root, path, options] = fields;
  const [type, source = '', superOptions = ''] = separator < 0 ? [] : fields.slice(separator + 1);
  if (
    !id ||
    !parentId ||
    !device ||
    root === undefined ||
    path === undefined ||
    options === undefined ||
    type === undefined
  ) {
    throw new SyntaxError(`not a line of mountinfo: ${JSON.stringify(line)}`);
  }
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root: unescapeField(root),
    path: unescapeField(path),
    options: options.split(','),
    propagation: fields.slice(6, separator),
    type,
    source: unescapeField(source),
    superOptions: superOptions.split(','),
  };
}

/** Space, tab, newline, `#` and backslash are written in octal, byte by byte. */
function unescapeField(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));
}

export function readMountInfo(): MountPoint[] {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Takes the topmost mount at the path off, also one that is in use. False when nothing is mounted there. */
export function detachMount(path: string, native: NativeAddon): boolean {
  try {
    native.umount(path, detach | doNotFollow);
    return true;
  } catch (error) {
    if (isSystemError(error, 'EINVAL', 'ENOENT')) return false;
    throw error;
  }
}

/** Takes all mounts at and under the folder off, newest first. Gives the paths, in that order. */
export function unmountAllUnder(folder: string, native: NativeAddon): string[] {
  const prefix = folder.endsWith('/') ? folder : `${folder}/`;
  const paths = readMountInfo()
    .map(({ path }) => path)
    .filter((path) => path === folder || path.startsWith(prefix))
    .reverse();
  return paths.filter((path) => detachMount(path, native));
}
