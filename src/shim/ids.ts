import { Code, TtrpcError } from '../ttrpc/index.ts';

const maxIdLength = 76;
const idPattern = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?$/;

/**
 * Checks an id that a peer names and that becomes part of paths: letters, digits, and `_`, `.`, `-` between them, at most 76.
 * @throws TtrpcError INVALID_ARGUMENT
 */
export function checkId(id: string, what: string): string {
  if (id.length <= maxIdLength && idPattern.test(id)) return id;
  const shown = JSON.stringify(id.length > maxIdLength ? `${id.slice(0, maxIdLength)}…` : id);
  throw new TtrpcError(
    Code.InvalidArgument,
    `${what} ${shown} is not valid: use letters and digits, with "_", "." or "-" between them, at most ${maxIdLength} characters`,
  );
}

const maxNameLength = 255;

/**
 * Checks a name that a peer has chosen and that is compared and shown, but no part of a path: any printable text without a slash.
 * @throws TtrpcError INVALID_ARGUMENT
 */
export function checkName(name: string, what: string): string {
  if (name !== '' && name.length <= maxNameLength && !/[\u0000-\u001f\u007f/]/.test(name) && !/^\.\.?$/.test(name))
    return name;
  throw new TtrpcError(
    Code.InvalidArgument,
    `${what} ${JSON.stringify(name.slice(0, maxNameLength))} is empty, too long, or has a slash or control characters`,
  );
}
