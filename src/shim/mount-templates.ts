import { Code, TtrpcError } from '../ttrpc/index.ts';

/** A mount that was made: what later ones can refer to by its position. */
export interface ActiveMount {
  source: string;
  target: string;
  mountPoint: string;
}

/** A directory that a mount needs before it is made. */
export interface NeededDirectory {
  path: string;
  mode: number;
  owner: { uid: number; gid: number } | undefined;
}

const mkdirOption = 'X-containerd.mkdir.path=';
const defaultMode = 0o700;

/**
 * Fills in what containerd's mount manager calls formatted mounts: `{{ source N }}`, `{{ target N }}` and `{{ mount N }}` stand
 * for those of the mount at that position, `{{ overlay FIRST LAST }}` for the mount points of a range, joined by colons.
 * @throws TtrpcError INVALID_ARGUMENT for a template that is none of these, or refers to a mount that is not there
 */
export function fillTemplate(text: string, active: readonly ActiveMount[]): string {
  return text.replace(/\{\{\s*([^{}]*?)\s*\}\}/g, (template, expression: string) => {
    const [name, ...rest] = expression.split(/\s+/);
    const [first, last] = rest.map((part) => mountAt(part, template, active));
    if (first !== undefined && rest.length === 1) {
      if (name === 'mount') return first.mountPoint;
      if (name === 'source') return first.source;
      if (name === 'target') return first.target;
    }
    if (name === 'overlay' && first !== undefined && last !== undefined && rest.length === 2) {
      return overlayRange(active.indexOf(first), active.indexOf(last), active);
    }
    throw new TtrpcError(
      Code.InvalidArgument,
      `mount template "${template}" is not known: use mount, source, target or overlay`,
    );
  });
}

function mountAt(text: string, template: string, active: readonly ActiveMount[]): ActiveMount {
  const mount = /^[0-9]{1,4}$/.test(text) ? active[Number(text)] : undefined;
  if (mount === undefined)
    throw new TtrpcError(Code.InvalidArgument, `mount template "${template}" refers to a mount that is not there`);
  return mount;
}

/** Both ends are in the range, which may run either way. */
function overlayRange(first: number, last: number, active: readonly ActiveMount[]): string {
  const range = active.slice(Math.min(first, last), Math.max(first, last) + 1).map(({ mountPoint }) => mountPoint);
  return (first > last ? range.reverse() : range).join(':');
}

/**
 * Takes the `X-containerd.mkdir.path=PATH[:MODE[:UID:GID]]` options out of a mount's options.
 * @throws TtrpcError INVALID_ARGUMENT
 */
export function neededDirectories(options: readonly string[]): { directories: NeededDirectory[]; options: string[] } {
  const wanted = options.filter((option) => option.startsWith(mkdirOption));
  const directories = wanted.map((option) => {
    const match = /^([^:]+)(?::([0-7]{1,4})(?::([0-9]{1,10}):([0-9]{1,10}))?)?$/.exec(option.slice(mkdirOption.length));
    if (match === null)
      throw new TtrpcError(Code.InvalidArgument, `mount option "${option}" is not PATH[:MODE[:UID:GID]]`);
    const [, path = '', mode, uid, gid] = match;
    return {
      path,
      mode: mode === undefined ? defaultMode : parseInt(mode, 8),
      owner: uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) },
    };
  });
  return { directories, options: options.filter((option) => !option.startsWith(mkdirOption)) };
}
