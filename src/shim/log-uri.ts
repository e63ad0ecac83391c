import { isAbsolute } from 'node:path';
import { Code, TtrpcError } from '../ttrpc/index.ts';

/** Where a stream of a process goes, read from the stdout and stderr fields of a request. */
export type StreamTarget =
  | { kind: 'none' }
  | { kind: 'fifo'; path: string }
  | { kind: 'file'; path: string }
  | { kind: 'cri'; path: string; maxBytes: number }
  | { kind: 'binary'; path: string; args: string[] };

/**
 * A plain path or `fifo://PATH` is a FIFO; `file://PATH` appends to a file; `binary://PATH?key=value` runs a logger;
 * `cri://PATH[?max-bytes=N]` writes the CRI log format; '' discards.
 * @throws TtrpcError INVALID_ARGUMENT
 */
export function parseStreamTarget(text: string): StreamTarget {
  if (text === '') return { kind: 'none' };
  const separator = text.indexOf('://');
  if (separator < 0) return { kind: 'fifo', path: absolute(text, text) };
  const scheme = text.slice(0, separator);
  const rest = text.slice(separator + 3);
  const [encodedPath, query] = splitOnce(rest, '?');
  const path = absolute(decode(encodedPath, text), text);
  const parameters = new URLSearchParams(query);
  switch (scheme) {
    case 'fifo':
      return { kind: 'fifo', path };
    case 'file':
      return { kind: 'file', path };
    case 'cri':
      return { kind: 'cri', path, maxBytes: maxBytes(parameters, text) };
    case 'binary':
      return { kind: 'binary', path, args: loggerArguments(parameters) };
    default:
      throw new TtrpcError(
        Code.InvalidArgument,
        `unknown stdio scheme "${scheme}" in "${text}": use a FIFO's path, file://, binary:// or cri://`,
      );
  }
}

/** Each query parameter is two arguments of the logger, its name and its value; an empty value is left out. */
function loggerArguments(parameters: URLSearchParams): string[] {
  const args: string[] = [];
  for (const [key, value] of parameters) args.push(...(value === '' ? [key] : [key, value]));
  return args;
}

function maxBytes(parameters: URLSearchParams, text: string): number {
  const value = parameters.get('max-bytes');
  if (value === null) return 0;
  if (/^[0-9]{1,15}$/.test(value)) return Number(value);
  throw new TtrpcError(Code.InvalidArgument, `max-bytes in "${text}" is not a number of bytes`);
}

function absolute(path: string, text: string): string {
  if (isAbsolute(path) && !path.includes('\0')) return path;
  throw new TtrpcError(Code.InvalidArgument, `stdio "${text}" names no absolute path`);
}

function decode(path: string, text: string): string {
  try {
    return decodeURIComponent(path);
  } catch (cause) {
    throw new TtrpcError(Code.InvalidArgument, `stdio "${text}" is no valid URI`, { cause });
  }
}

function splitOnce(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
