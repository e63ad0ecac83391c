/** `npm run build`: the wire code, the addon and the static program, and the bundles; all that runs is then under dist/. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
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

/** A program of ours: its bundle, what runs it with compiled code, and, if it has no launcher of its own, the command. */
async function program(name, entry, hasLauncher) {
  await bundle(entry, `dist/lib/${name}.cjs`);
  copyFileSync(join(root, 'src/shim/loader.mjs'), join(root, `dist/lib/${name}.mjs`));
  if (hasLauncher) return;
  const command = join(root, 'dist/bin', name);
  const text = readFileSync(join(root, 'packaging/launcher.sh'), 'utf8').replaceAll('PROGRAM', name);
  // In one step: a shell reads its script while it runs.
  writeFileSync(`${command}.new`, text, { mode: 0o755 });
  renameSync(`${command}.new`, command);
}

run('generate-wire.mjs');
run('build-native.mjs');
await program('shim', 'src/shim/main.ts', true);
await program('berthd', 'src/manager/main.ts', false);
await bundle('src/manager/images/unpack/main.ts', 'dist/lib/unpack.cjs');
await program('berthctl', 'src/cli/main.ts', false);
run('warm-up.mjs');
run('warm-up-daemon.mjs');

const built = [
  'dist/bin/containerd-shim-berth-v2',
  'dist/bin/berthd',
  'dist/bin/berthctl',
  'dist/lib/shim.cjs',
  'dist/lib/berthd.cjs',
  'dist/lib/berthctl.cjs',
  'dist/lib/berth.node',
];
for (const file of built) {
  const kilobytes = (statSync(join(root, file)).size / 1024).toFixed(0);
  console.log(`${kilobytes.padStart(6)} KB  ${file}`);
}
