import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

/** The user's folder for what tests have fetched or built and need again. It need not be there yet. */
export const cacheFolder = join(process.env['XDG_CACHE_HOME'] ?? join(homedir() || tmpdir(), '.cache'), 'berth');
