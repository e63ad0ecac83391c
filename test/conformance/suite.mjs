/**
 * Where the conformance suite comes from. Nothing of it is kept in this repository: go.mod pins a version, and the two programs
 * (the suite itself and the program that it puts into its containers) are built in a cache folder of the user's.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const repository = resolve(here, '../..');

const suiteModule = 'github.com/containerd/shimtest';
const proxyAnswerSeconds = 15;
const buildSeconds = 600;

/** Thrown when the suite can be had neither from the proxy nor from a fetched copy; the message says what was tried. */
export class SuiteUnavailable extends Error {}

const oneLine = (text) => text.trim().replace(/\s+/g, ' ');

/** Runs a program to its end; resolves with what it did, also when it failed. */
function run(file, args, options = {}) {
  return new Promise((done) => {
    execFile(
      file,
      args,
      { maxBuffer: 64 << 20, encoding: 'utf8', ...options, timeout: (options.timeoutSeconds ?? 60) * 1000 },
      (error, stdout, stderr) => done({ ok: !error, stdout, stderr, message: oneLine(stderr || error?.message || '') }),
    );
  });
}

/** A program's path by PATH and then by the places where Go's own installer puts it; undefined where there is none. */
export async function findGo() {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/local/go/bin', '/usr/lib/go/bin'];
  for (const folder of folders) {
    const file = join(folder || '.', 'go');
    if ((await stat(file).catch(() => undefined))?.isFile()) return file;
  }
  return undefined;
}

/** `{ version, commit }` of the suite as go.mod requires it; the commit is the version's last 12 digits. */
export async function pinnedSuite() {
  const text = await readFile(join(here, 'go.mod'), 'utf8');
  const version = new RegExp(`${suiteModule} (v\\S+)`).exec(text)?.[1];
  const commit = /-([0-9a-f]{12})$/.exec(version ?? '')?.[1];
  if (!version || !commit) throw new Error(`go.mod requires no pseudo-version of ${suiteModule}`);
  return { version, commit };
}

/**
 * Builds the suite, or takes what was built before.
 * @returns {Promise<{ program: string, guestProgram: string, origin: string }>} `origin` says in words where it came from
 */
export async function buildSuite(go) {
  const { version, commit } = await pinnedSuite();
  const goVersion = (await run(go, ['env', 'GOVERSION'])).stdout.trim();
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir() || tmpdir(), '.cache'), 'berth');
  const built = join(cache, `shimtest-${commit}-${goVersion}`);
  const programs = { program: join(built, 'shimtest.test'), guestProgram: join(built, 'testbin') };
  const origin = await readFile(join(built, 'origin'), 'utf8').catch(() => undefined);
  if (origin) return { ...programs, origin: `${origin} (built earlier, in ${built})` };

  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, 'build-'));
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

async function compile(go, work, version, commit) {
  const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GIT_TERMINAL_PROMPT: '0' };
  await mkdir(join(work, 'out'));
  const answer = await run(go, ['list', '-m', `${suiteModule}@${version}`], {
    cwd: work,
    env,
    timeoutSeconds: proxyAnswerSeconds,
  });
  let from;
  let module;
  let suitePackage;
  if (answer.ok) {
    module = join(work, 'module');
    await mkdir(module);
    await cp(join(here, 'go.mod'), join(module, 'go.mod'));
    suitePackage = suiteModule;
    from = `${suiteModule}@${version} from the module proxy`;
  } else {
    module = join(work, 'shimtest');
    suitePackage = '.';
    const copy = await unpackCopy('shimtest', commit, module);
    if (!copy) {
      throw new SuiteUnavailable(
        `${suiteModule}@${version} cannot be had.\n` +
          `  the module proxy: ${answer.message}\n` +
          `  a fetched copy: none that has commit ${commit} in ${copiesOf('shimtest').join(', ')}\n` +
          '  What to do: clone the repository anywhere outside this one and set BERTH_SHIMTEST_SOURCE to its git directory.',
      );
    }
    from = `commit ${commit} from a fetched copy in ${copy}, because the module proxy said: ${answer.message}`;
    await replaceWhatTheProxyRefuses(go, module, work, env);
  }
  const build = async (args) => {
    const outcome = await run(go, args, { cwd: module, env, timeoutSeconds: buildSeconds });
    if (!outcome.ok) throw new SuiteUnavailable(`go ${args.join(' ')}: ${outcome.message}`);
  };
  const guestPackage = suitePackage === '.' ? './cmd/testbin' : `${suitePackage}/cmd/testbin`;
  await build(['test', '-c', '-o', join(work, 'out', 'shimtest.test'), suitePackage]);
  await build(['build', '-ldflags=-s -w', '-o', join(work, 'out', 'testbin'), guestPackage]);
  return from;
}

/** Dependencies on single commits, which a proxy may not have either, are taken from fetched copies as well. */
async function replaceWhatTheProxyRefuses(go, module, work, env) {
  const text = await readFile(join(module, 'go.mod'), 'utf8');
  for (const [, name, version, commit] of text.matchAll(
    /^\s*(github\.com\/containerd\/\S+) (v\S+[-.]\d{14}-([0-9a-f]{12}))/gm,
  )) {
    const answer = await run(go, ['mod', 'download', `${name}@${version}`], {
      cwd: module,
      env,
      timeoutSeconds: proxyAnswerSeconds,
    });
    if (answer.ok) continue;
    const short = name.split('/').at(-1);
    const copy = await unpackCopy(short, commit, join(work, short));
    if (!copy) {
      throw new SuiteUnavailable(
        `${name}@${version}, which the suite needs, cannot be had: the module proxy said "${answer.message}", ` +
          `and there is no fetched copy in ${copiesOf(short).join(', ')}`,
      );
    }
    await run(go, ['mod', 'edit', '-replace', `${name}=../${short}`], { cwd: module, env });
  }
}

/** Git directories that may hold a fetched copy of a containerd project, the caller's own choice first. */
function copiesOf(name) {
  const chosen = process.env.BERTH_SHIMTEST_SOURCE;
  const farm = (root) => join(root, `containerd+${name}`, 'repo');
  return [
    ...(chosen && name === 'shimtest' ? [chosen] : []),
    ...(chosen ? [farm(resolve(chosen, '../..'))] : []),
    farm(resolve(repository, '../.mirror')),
    farm('/work/.mirror'),
  ].filter((path, index, all) => all.indexOf(path) === index);
}

/** Unpacks a commit of a fetched copy; the git directory it came from, or undefined where none has that commit. */
async function unpackCopy(name, commit, into) {
  for (const path of copiesOf(name)) {
    const inside = join(path, '.git');
    const gitDirectory = (await stat(inside).catch(() => undefined)) ? inside : path;
    const archive = join(dirname(into), `${name}.tar`);
    const git = ['--git-dir', gitDirectory];
    if (!(await run('git', [...git, 'archive', '--format=tar', '-o', archive, commit])).ok) continue;
    await mkdir(into, { recursive: true });
    const unpacked = await run('tar', ['-xf', archive, '-C', into]);
    await rm(archive, { force: true });
    if (unpacked.ok) return gitDirectory;
  }
  return undefined;
}
