import { chmodSync, writeFileSync } from 'node:fs';
import { ociRuntimes } from './paths.ts';

/**
 * Writes an OCI runtime that does as the real one does, but for some of its commands, where it does what `script` says.
 * The script finds the command in `$verb` and the path of the runtime's log in `$log`.
 */
export function writeFakeRuntime(path: string, verbs: string[], script: string): string {
  const lines = [
    '#!/bin/sh',
    'log=/dev/null verb=',
    'previous=',
    'for word in "$@"; do',
    '  [ "$previous" = --log ] && log=$word',
    `  case "$word" in ${verbs.join('|')}) verb=\${verb:-$word} ;; esac`,
    '  previous=$word',
    'done',
    'if [ -n "$verb" ]; then',
    script,
    'fi',
    `exec ${ociRuntimes.runc} "$@"`,
  ];
  writeFileSync(path, lines.join('\n') + '\n');
  chmodSync(path, 0o755);
  return path;
}
