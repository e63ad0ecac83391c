/** `npm run build`: the wire code, the addon and the static program, and the shim's bundle; all that runs is then under dist/. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');

/** Runs another script of this folder on the same Node; ends this one when it fails. */
function run(script) {
  const { status, signal } = spawnSync(process.execPath, [join(import.meta.dirname, script)], {
    cwd: root,
    stdio: 'inherit',
  });
  if (status !== 0) {
    console.error(`build: scripts/${script} failed (${signal ?? `exit code ${status}`})`);
    process.exit(1);
  }
}

/** Bundles one entry point into dist/lib, so that nothing is looked up in node_modules when it runs. */
async function bundle(entry, output) {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile: output,
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    // Where the bundle is: CommonJS has no import.meta.
    banner: { js: 'const __bundleUrl = require("node:url").pathToFileURL(__filename).href;' },
    define: { 'import.meta.url': '__bundleUrl' },
    legalComments: 'none',
    logLevel: 'warning',
  });
}

run('generate-wire.mjs');
run('build-native.mjs');
await bundle('src/shim/main.ts', 'dist/lib/shim.cjs');
copyFileSync(join(root, 'src/shim/loader.mjs'), join(root, 'dist/lib/shim.mjs'));
run('warm-up.mjs');

for (const file of ['dist/bin/containerd-shim-berth-v2', 'dist/lib/shim.cjs', 'dist/lib/berth.node']) {
  const kilobytes = (statSync(join(root, file)).size / 1024).toFixed(0);
  console.log(`${kilobytes.padStart(6)} KB  ${file}`);
}
