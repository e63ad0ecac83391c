import { lstatSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { Code, TtrpcError } from '../ttrpc/index.ts';

/** As many as the kernel follows (MAXSYMLINKS). */
const maxLinks = 40;

/**
 * Where a path leads whose links an image has made, if the folder were the root: a link to `/etc` is the folder's own `etc`, and no
 * number of `..` leaves it. What is not there yet stays as it is named. Nobody else may change the folder meanwhile, which holds for
 * a rootfs whose container is not created yet.
 * @throws TtrpcError INVALID_ARGUMENT for links that lead nowhere
 */
export function resolveInside(root: string, path: string): string {
  let links = 0;
  const todo = path.split('/').reverse();
  const done: string[] = [];
  for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const here = join(root, ...done, part);
    if (lstatSync(here, { throwIfNoEntry: false })?.isSymbolicLink() !== true) {
      done.push(part);
      continue;
    }
    if (++links > maxLinks) throw new TtrpcError(Code.InvalidArgument, `"${path}" has too many links under ${root}`);
    const target = readlinkSync(here);
    if (target.startsWith('/')) done.length = 0;
    todo.push(...target.split('/').reverse());
  }
  return join(root, ...done);
}
