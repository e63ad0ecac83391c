/**
 * Where the conformance suite comes from. Nothing of it is kept in this repository: go.mod pins a version, and the two programs
 * (the suite itself and the program that it puts into its containers) are built in a cache folder of the user's.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { cacheFolder } from '../support/cache.ts';
import type { Programs } from './plan.ts';

const here = import.meta.dirname;
const repository = resolve(here, '../..');

const suiteModule = 'github.com/containerd/shimtest';
const proxyAnswerSeconds = 15;
const buildSeconds = 600;
const commandSeconds = 60;

/** The suite can be had neither from the module proxy nor from a fetched copy; the message says what was tried and what to do. */
export class SuiteUnavailable extends Error {
  override readonly name = 'SuiteUnavailable';
}

interface Outcome {
  ok: boolean;
  stdout: string;
  /** What it said on stderr, or why it could not be run, in one line. */
  message: string;
}

interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Default 60. */
  seconds?: number;
}

/** Runs a program to its end; resolves with what it did, also when it failed. */
function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { seconds = commandSeconds, ...rest } = options;
  return new Promise((done) => {
    execFile(file, args, { encoding: 'utf8', ...rest, timeout: seconds * 1000 }, (error, stdout, stderr) => {
      const text = stderr.trim() || (error?.message ?? '');
      done({ ok: error === null, stdout, message: text.trim().replace(/\s+/g, ' ') });
    });
  });
}

/** A program's path by PATH and then by the places where Go's own installer puts it; undefined where there is none. */
export async function findGo(): Promise<string | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/go/bin', '/usr/lib/go/bin'];
  for (const folder of folders.filter(Boolean)) {
    const file = join(folder, 'go');
    if ((await stat(file).catch(() => undefined))?.isFile()) return file;
  }
  return undefined;
}

/** The suite as go.mod requires it; the commit is the version's last 12 digits. */
export async function pinnedSuite(): Promise<{ version: string; commit: string }> {
  const text = await readFile(join(here, 'go.mod'), 'utf8');
  const [, version, commit] = new RegExp(`${suiteModule} (v\\S+-([0-9a-f]{12}))$`, 'm').exec(text) ?? [];
  if (version === undefined || commit === undefined)
    throw new Error(`go.mod requires no pseudo-version of ${suiteModule}`);
  return { version, commit };
}

/** Builds the suite, or takes what was built before; `origin` says in words where it came from. */
export async function buildSuite(go: string): Promise<Programs & { origin: string }> {
  const { version, commit } = await pinnedSuite();
  const goVersion = (await run(go, ['env', 'GOVERSION'])).stdout.trim();
  const built = join(cacheFolder, `shimtest-${commit}-${goVersion}`);
  const programs = { program: join(built, 'shimtest.test'), guestProgram: join(built, 'testbin') };
  const origin = await readFile(join(built, 'origin'), 'utf8').catch(() => undefined);
  if (origin !== undefined) return { ...programs, origin: `${origin} (built earlier, in ${built})` };

  await mkdir(cacheFolder, { recursive: true });
  const work = await mkdtemp(join(cacheFolder, 'build-'));
  try {
    const from = await compile(go, work, version, commit);
    await writeFile(join(work, 'out', 'origin'), from);
    await rm(built, { recursive: true, force: true });
    await rename(join(work, 'out'), built);
    return { ...programs, origin: from };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function compile(go: string, work: string, version: string, commit: string): Promise<string> {
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GIT_TERMINAL_PROMPT: '0' };
  await mkdir(join(work, 'out'));
  const proxy = await run(go, ['list', '-m', `${suiteModule}@${version}`], {
    cwd: work,
    env,
    seconds: proxyAnswerSeconds,
  });
  const source = proxy.ok
    ? await moduleThatRequires(work, version)
    : await fetchedCopy(go, work, version, commit, env, proxy.message);
  const build = async (...args: string[]): Promise<void> => {
    const outcome = await run(go, args, { cwd: source.folder, env, seconds: buildSeconds });
    if (!outcome.ok) throw new SuiteUnavailable(`go ${args.join(' ')}: ${outcome.message}`);
  };
  await build('test', '-c', '-o', join(work, 'out', 'shimtest.test'), source.suite);
  await build('build', '-ldflags=-s -w', '-o', join(work, 'out', 'testbin'), `${source.suite}/cmd/testbin`);
  return source.origin;
}

/** What to compile, from which folder, and where it came from in words. */
interface Source {
  folder: string;
  suite: string;
  origin: string;
}

async function moduleThatRequires(work: string, version: string): Promise<Source> {
  const folder = join(work, 'module');
  await mkdir(folder);
  await cp(join(here, 'go.mod'), join(folder, 'go.mod'));
  return { folder, suite: suiteModule, origin: `${suiteModule}@${version} from the module proxy` };
}

async function fetchedCopy(
  go: string,
  work: string,
  version: string,
  commit: string,
  env: NodeJS.ProcessEnv,
  proxySaid: string,
): Promise<Source> {
  const folder = join(work, 'shimtest');
  const copy = await unpackCopy('shimtest', commit, folder);
  if (copy === undefined) {
    throw new SuiteUnavailable(
      `${suiteModule}@${version} cannot be had.\n` +
        `  the module proxy: ${proxySaid}\n` +
        `  a fetched copy: none that has commit ${commit} in ${copiesOf('shimtest').join(', ')}\n` +
        '  What to do: clone the repository anywhere outside this one and set BERTH_SHIMTEST_SOURCE to its git directory.',
    );
  }
  await replaceWhatTheProxyRefuses(go, folder, work, env);
  const origin = `commit ${commit} from a fetched copy in ${copy}, because the module proxy said: ${proxySaid}`;
  return { folder, suite: '.', origin };
}

/** Dependencies on single commits, which a proxy may not have either, are taken from fetched copies as well. */
async function replaceWhatTheProxyRefuses(
  go: string,
  module: string,
  work: string,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const text = await readFile(join(module, 'go.mod'), 'utf8');
  const commits = /^\s*(github\.com\/containerd\/\S+) (v\S+[-.]\d{14}-([0-9a-f]{12}))/gm;
  for (const [, name = '', version = '', commit = ''] of text.matchAll(commits)) {
    const download = ['mod', 'download', `${name}@${version}`];
    const proxy = await run(go, download, { cwd: module, env, seconds: proxyAnswerSeconds });
    if (proxy.ok) continue;
    const short = name.split('/').at(-1) ?? name;
    if ((await unpackCopy(short, commit, join(work, short))) === undefined) {
      throw new SuiteUnavailable(
        `${name}@${version}, which the suite needs, cannot be had: the module proxy said "${proxy.message}", ` +
          `and there is no fetched copy in ${copiesOf(short).join(', ')}`,
      );
    }
    await run(go, ['mod', 'edit', '-replace', `${name}=../${short}`], { cwd: module, env });
  }
}

/** Git directories that may hold a fetched copy of a containerd project, the caller's own choice first. */
function copiesOf(name: string): string[] {
  const chosen = process.env['BERTH_SHIMTEST_SOURCE'];
  const mirror = (root: string) => join(root, `containerd+${name}`, 'repo');
  const paths = [mirror(resolve(repository, '../.mirror')), mirror('/work/.mirror')];
  if (chosen !== undefined) paths.unshift(...(name === 'shimtest' ? [chosen] : []), mirror(resolve(chosen, '../..')));
  return [...new Set(paths)];
}

/** Unpacks a commit of a fetched copy; the git directory it came from, or undefined where none has that commit. */
async function unpackCopy(name: string, commit: string, into: string): Promise<string | undefined> {
  for (const path of copiesOf(name)) {
    const inside = join(path, '.git');
    const gitDirectory = (await stat(inside).catch(() => undefined)) ? inside : path;
    const archive = join(dirname(into), `${name}.tar`);
    const git = ['--git-dir', gitDirectory, 'archive', '--format=tar', '-o', archive, commit];
    if (!(await run('git', git)).ok) continue;
    await mkdir(into, { recursive: true });
    const unpacked = await run('tar', ['-xf', archive, '-C', into]);
    await rm(archive, { force: true });
    if (unpacked.ok) return gitDirectory;
  }
  return undefined;
}
