import { closeSync } from 'node:fs';
import { isSystemError, type NativeAddon } from '../linux/index.ts';

/** Whether a shim listens on the socket at that path. */
export function answers(path: string, native: NativeAddon): boolean {
  try {
    closeSync(native.connectUnix(path));
    return true;
  } catch (error) {
    // A full backlog is a shim too, a busy one.
    return isSystemError(error, 'EAGAIN');
  }
}
