/**
 * `npm run native`: the addon (dist/lib/berth.node), the static launcher and keeper (dist/bin/containerd-shim-berth-v2) and
 * the JavaScript host beside them (dist/lib/node). Builds only what is older than its sources; needs no network.
 */
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  globSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '..');
const sources = join(root, 'src/native');
const stage = join(root, 'build/native');
const addon = join(root, 'dist/lib/berth.node');
const host = join(root, 'dist/lib/node');
const launcher = join(root, 'dist/bin/containerd-shim-berth-v2');
const warnings = ['-Wall', '-Wextra', '-Wshadow', '-Wconversion', '-Werror'];

/** Runs a program; shows what it printed only when it fails, and then ends. */
function run(command, args, options = {}) {
  const { status, signal, error, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', ...options });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  console.error(`build-native: ${basename(command)} failed (${error?.message ?? signal ?? `exit code ${status}`})`);
  process.exit(1);
}

function isCurrent(output, inputs) {
  if (!existsSync(output)) return false;
  const built = statSync(output).mtimeMs;
  return inputs.every((input) => statSync(input).mtimeMs <= built);
}

/** Puts a finished file in place in one step: what runs from the old one is not disturbed. */
function install(from, to) {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}

/** Where include/node is: the npm package `node`, else the running Node's own prefix, else the system's. */
function nodeDirectory() {
  const candidates = [
    ...globSync('node_modules/**/node-linux-*', { cwd: root }).map((path) => join(root, path)),
    join(dirname(process.execPath), '..'),
    '/usr',
    '/usr/local',
  ];
  const found = candidates.find((path) => existsSync(join(path, 'include/node/node_api.h')));
  if (found === undefined) {
    console.error(
      `build-native: no include/node/node_api.h in any of ${candidates.join(', ')}: run npm ci, or install Node's headers`,
    );
    process.exit(1);
  }
  return found;
}

/** node-gyp writes its files beside binding.gyp: so it sees the sources through links in build/. */
function linkSources(files) {
  mkdirSync(stage, { recursive: true });
  for (const stale of globSync('*.{c,h,gyp}', { cwd: stage })) rmSync(join(stage, stale), { force: true });
  for (const file of files) symlinkSync(relative(stage, file), join(stage, basename(file)));
}

function buildAddon() {
  const inputs = globSync('*.{c,h,gyp}', { cwd: sources }).map((name) => join(sources, name));
  const script = join(import.meta.dirname, 'build-native.mjs');
  if (isCurrent(addon, [...inputs, script])) return;
  linkSources(inputs);
  const gyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  run(process.execPath, [gyp, 'configure', 'build', '-C', stage, `--nodedir=${nodeDirectory()}`, '--jobs=2']);
  install(join(stage, 'build/Release/berth.node'), addon);
}

function hasCommand(name) {
  return spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined;
}

function buildLauncher() {
  const units = globSync(['launcher/*.c', 'pump*.c'], { cwd: sources });
  const inputs = globSync(['launcher/*.{c,h}', 'pump*.{c,h}'], { cwd: sources }).map((name) => join(sources, name));
  if (isCurrent(launcher, [...inputs, join(import.meta.dirname, 'build-native.mjs')])) return;
  mkdirSync(stage, { recursive: true });
  const output = join(stage, basename(launcher));
  const flags = [
    '-std=c11',
    '-Os',
    '-static',
    '-no-pie',
    '-fno-pie',
    '-ffunction-sections',
    '-fdata-sections',
    '-Wl,--gc-sections',
    '-s',
  ];
  run(
    hasCommand('musl-gcc') ? 'musl-gcc' : 'cc',
    [...flags, ...warnings, '-pthread', '-I', sources, '-o', output, ...units],
    { cwd: sources },
  );
  install(output, launcher);
}

/** The host is the npm package's Node where there is one, so that it is the same on every machine; else the Node that runs this. */
function linkHost() {
  const packaged = join(root, 'node_modules/node/bin/node');
  const node = existsSync(packaged) ? packaged : process.execPath;
  const wanted = statSync(node);
  if (existsSync(host)) {
    const present = statSync(host);
    if (present.ino === wanted.ino && present.dev === wanted.dev) return;
  }
  mkdirSync(dirname(host), { recursive: true });
  rmSync(`${host}.new`, { force: true });
  try {
    linkSync(node, `${host}.new`);
  } catch {
    symlinkSync(node, `${host}.new`);
  }
  renameSync(`${host}.new`, host);
}

buildAddon();
buildLauncher();
linkHost();
