import { readFileSync } from 'node:fs';

/** As much of a runtime's log as is looked at: the error that matters is at its end. */
const maxLogBytes = 256 * 1024;

/**
 * The last error that a runtime wrote to its `--log` file in JSON lines (`{"level":"error","msg":"…"}`), from a given offset on.
 * Lines that are no JSON (a runtime that prints garbage, a line cut off) are passed over. '' when there is none.
 */
export function lastLoggedError(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').slice(-maxLogBytes);
  } catch {
    return '';
  }
  return lastErrorIn(text);
}

/** The pure part of `lastLoggedError`. */
export function lastErrorIn(text: string): string {
  for (const line of text.split('\n').reverse()) {
    const message = errorMessage(line);
    if (message !== '') return message;
  }
  return '';
}

function errorMessage(line: string): string {
  if (!line.startsWith('{')) return '';
  try {
    const entry = JSON.parse(line) as { level?: unknown; msg?: unknown };
    if ((entry.level === 'error' || entry.level === 'fatal') && typeof entry.msg === 'string')
      return oneLine(entry.msg);
  } catch {
    // a line that the runtime did not finish
  }
  return '';
}

/** Text of unknown origin as one printable line of bounded length. */
export function oneLine(text: string, maxCharacters = 1000): string {
  const flat = text.replace(/[\s\u0000-\u001f\u007f]+/g, ' ').trim();
  return flat.length > maxCharacters ? `${flat.slice(0, maxCharacters)}…` : flat;
}
