/**
 * Programs of others that are written in Go. Nothing of them is kept in this repository: test/conformance/go.mod pins their versions,
 * and they are built in the user's cache folder.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { cacheFolder } from './cache.ts';
import { repository } from './paths.ts';

const pins = join(repository, 'test/conformance/go.mod');
const commandSeconds = 60;
const buildSeconds = 600;

/** Something from outside that a run cannot do without cannot be had; the message says what was tried and what to do. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

export interface Outcome {
  ok: boolean;
  stdout: string;
  /** What it said on stderr, or why it could not be run, in one line. */
  message: string;
}

export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Default 60. */
  seconds?: number;
}

/** Runs a program to its end; resolves with what it did, also when it failed. */
export function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { seconds = commandSeconds, ...rest } = options;
  return new Promise((done) => {
    execFile(file, args, { encoding: 'utf8', ...rest, timeout: seconds * 1000 }, (error, stdout, stderr) => {
      const text = stderr.trim() || (error?.message ?? '');
      done({ ok: error === null, stdout, message: text.trim().replace(/\s+/g, ' ') });
    });
  });
}

/** Go's path by PATH and then by the places where its own installer puts it; undefined where there is none. */
export async function findGo(): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/go/bin', '/usr/lib/go/bin'];
  for (const folder of folders.filter(Boolean)) {
    const file = join(folder, 'go');
    if ((await stat(file).catch(() => undefined))?.isFile()) return file;
  }
  return undefined;
}

/** The version that go.mod requires of a module. */
export async function pinnedVersion(module: string): Promise<string> {
  const lines = (await readFile(pins, 'utf8')).split('\n').map((line) => line.trim().replace(/^require\s+/, ''));
  const version = lines.find((line) => line.startsWith(`${module} `))?.split(/\s+/)[1];
  if (version === undefined) throw new Error(`${pins} requires no ${module}`);
  return version;
}

/** Makes a module that requires only this one, in a new folder; the others of go.mod may be out of reach. */
export async function moduleThatRequires(folder: string, module: string): Promise<void> {
  const go = /^go .*$/m.exec(await readFile(pins, 'utf8'))?.[0] ?? '';
  await mkdir(folder, { recursive: true });
  const text = `module berth.dev/build\n\n${go}\n\nrequire ${module} ${await pinnedVersion(module)}\n`;
  await writeFile(join(folder, 'go.mod'), text);
}

/** For builds: static, and with checksums added as modules come. */
export const goEnvironment: NodeJS.ProcessEnv = {
  ...process.env,
  CGO_ENABLED: '0',
  GOFLAGS: '-mod=mod',
  GIT_TERMINAL_PROMPT: '0',
};

/** Runs go, which must succeed. @throws {Unavailable} */
export async function goBuild(go: string, folder: string, args: readonly string[]): Promise<void> {
  const outcome = await run(go, args, { cwd: folder, env: goEnvironment, seconds: buildSeconds });
  if (!outcome.ok) throw new Unavailable(`go ${args.join(' ')}: ${outcome.message}`);
}

/**
 * The folder of programs that are built once for each version of theirs and of Go's.
 * @param build puts them into `out`, may use `work` besides, and says in words where their source came from
 */
export async function builtOnce(
  go: string,
  name: string,
  version: string,
  build: (work: string, out: string) => Promise<string>,
): Promise<{ folder: string; origin: string }> {
  const goVersion = (await run(go, ['env', 'GOVERSION'])).stdout.trim();
  const folder = join(cacheFolder, `${name}-${version}-${goVersion}`);
  const origin = await readFile(join(folder, 'origin'), 'utf8').catch(() => undefined);
  if (origin !== undefined) return { folder, origin: `${origin} (built earlier, in ${folder})` };
  await mkdir(cacheFolder, { recursive: true });
  const work = await mkdtemp(join(cacheFolder, 'build-'));
  try {
    const out = join(work, 'out');
    await mkdir(out);
    const from = await build(work, out);
    await writeFile(join(out, 'origin'), from);
    await rm(folder, { recursive: true, force: true });
    await rename(out, folder);
    return { folder, origin: from };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
