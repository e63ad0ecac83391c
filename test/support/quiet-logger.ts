import type { Logger } from '../../src/ttrpc/index.ts';

/** For ttRPC ends whose failures a test sees by itself. */
export const quietLogger: Logger = {
  debug: () => undefined,
  warn: () => undefined,
};
