import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { repository } from '../support/paths.ts';

/** As far below the repository as test/support is, so that what is found from there is found from here. */
const folder = join(repository, 'build/guest-tests');

/**
 * Makes JavaScript of the guest's tests. Node could take the types out itself, but that is a WebAssembly program, and without KVM it
 * takes five seconds in each process.
 */
export async function buildGuestTests(): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  await build({
    absWorkingDir: repository,
    entryPoints: ['test/vm/guest/*.ts'],
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    target: 'node24',
    format: 'esm',
    logLevel: 'warning',
  });
}
