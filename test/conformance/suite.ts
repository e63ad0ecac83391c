/**
 * Where the conformance suite for shims comes from: go.mod pins a version, and the two programs (the suite itself and the program
 * that it puts into its containers) are built in a cache folder of the user's.
 */
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  builtOnce,
  goBuild,
  goEnvironment,
  moduleThatRequires,
  pinnedVersion,
  run,
  Unavailable,
} from '../support/go.ts';
import { repository } from '../support/paths.ts';
import type { Programs } from './plan.ts';

const suiteModule = 'github.com/containerd/shimtest';
const proxyAnswerSeconds = 15;

/** The suite as go.mod requires it. */
export const pinnedSuite = () => pinnedVersion(suiteModule);

/** Builds the suite, or takes what was built before; `origin` says in words where it came from. @throws {Unavailable} */
export async function buildSuite(go: string): Promise<Programs & { origin: string }> {
  const version = await pinnedSuite();
  const commit = /-([0-9a-f]{12})$/.exec(version)?.[1];
  if (commit === undefined) throw new Error(`go.mod requires no pseudo-version of ${suiteModule}`);
  const { folder, origin } = await builtOnce(go, 'shimtest', commit, async (work, out) => {
    const source = await findSource(go, work, version, commit);
    await goBuild(go, source.folder, ['test', '-c', '-o', join(out, 'shimtest.test'), source.suite]);
    const guestProgram = `${source.suite}/cmd/testbin`;
    await goBuild(go, source.folder, ['build', '-ldflags=-s -w', '-o', join(out, 'testbin'), guestProgram]);
    return source.origin;
  });
  return { program: join(folder, 'shimtest.test'), guestProgram: join(folder, 'testbin'), origin };
}

/** What to compile, from which folder, and where it came from in words. */
interface Source {
  folder: string;
  suite: string;
  origin: string;
}

async function findSource(go: string, work: string, version: string, commit: string): Promise<Source> {
  const ask = ['list', '-m', `${suiteModule}@${version}`];
  const proxy = await run(go, ask, { cwd: work, env: goEnvironment, seconds: proxyAnswerSeconds });
  if (!proxy.ok) return await fetchedCopy(go, work, version, commit, proxy.message);
  const folder = join(work, 'module');
  await moduleThatRequires(folder, suiteModule);
  return { folder, suite: suiteModule, origin: `${suiteModule}@${version} from the module proxy` };
}

async function fetchedCopy(
  go: string,
  work: string,
  version: string,
  commit: string,
  proxySaid: string,
): Promise<Source> {
  const folder = join(work, 'shimtest');
  const copy = await unpackCopy('shimtest', commit, folder);
  if (copy === undefined) {
    throw new Unavailable(
      `${suiteModule}@${version} cannot be had.\n` +
        `  the module proxy: ${proxySaid}\n` +
        `  a fetched copy: none that has commit ${commit} in ${copiesOf('shimtest').join(', ')}\n` +
        '  What to do: clone the repository anywhere outside this one and set BERTH_SHIMTEST_SOURCE to its git directory.',
    );
  }
  await replaceWhatTheProxyRefuses(go, folder, work);
  const origin = `commit ${commit} from a fetched copy in ${copy}, because the module proxy said: ${proxySaid}`;
  return { folder, suite: '.', origin };
}

/** Dependencies on single commits, which a proxy may not have either, are taken from fetched copies as well. */
async function replaceWhatTheProxyRefuses(go: string, module: string, work: string): Promise<void> {
  const text = await readFile(join(module, 'go.mod'), 'utf8');
  const commits = /^\s*(github\.com\/containerd\/\S+) (v\S+[-.]\d{14}-([0-9a-f]{12}))/gm;
  for (const [, name = '', version = '', commit = ''] of text.matchAll(commits)) {
    const download = ['mod', 'download', `${name}@${version}`];
    const proxy = await run(go, download, { cwd: module, env: goEnvironment, seconds: proxyAnswerSeconds });
    if (proxy.ok) continue;
    const short = name.split('/').at(-1) ?? name;
    if ((await unpackCopy(short, commit, join(work, short))) === undefined) {
      throw new Unavailable(
        `${name}@${version}, which the suite needs, cannot be had: the module proxy said "${proxy.message}", ` +
          `and there is no fetched copy in ${copiesOf(short).join(', ')}`,
      );
    }
    await run(go, ['mod', 'edit', '-replace', `${name}=../${short}`], { cwd: module, env: goEnvironment });
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
