import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { RuntimeError } from './errors.ts';

/**
 * The absolute path of a program, looked up in PATH when it has no slash.
 * @throws RuntimeError `missing`
 */
export function findProgram(name: string, searchPath: string): string {
  if (name.includes('/')) {
    if (isAbsolute(name) && isExecutable(name)) return name;
    throw new RuntimeError(
      `OCI runtime "${name}" is not an executable file: install it or correct its path`,
      'missing',
    );
  }
  for (const folder of searchPath.split(':')) {
    const candidate = join(folder === '' ? '/' : folder, name);
    if (isExecutable(candidate)) return candidate;
  }
  throw new RuntimeError(
    `OCI runtime "${name}" is in none of the folders of PATH (${searchPath}): install it or give its path`,
    'missing',
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
