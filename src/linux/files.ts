import { unlinkSync } from 'node:fs';

/** Removes a file that may be gone already, or never have been; whoever calls this can do without. */
export function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // it is not there
  }
}
