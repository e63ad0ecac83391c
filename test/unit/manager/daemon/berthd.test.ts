import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { parseCommand } from '../../../../src/manager/arguments.ts';
import { version } from '../../../../src/manager/version.ts';
import { repository } from '../../../support/paths.ts';
import { Running } from '../../../support/running.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const berthd = join(repository, 'dist/bin/berthd');

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(berthd, args, { encoding: 'utf8' });
}

/** A daemon with folders of its own, without network and without shims. */
async function start(test: TestContext): Promise<{ daemon: Running; args: string[]; folder: string }> {
  const folder = temporaryFolder(test);
  const config = join(folder, 'config.toml');
  mkdirSync(join(folder, 'cni'));
  writeFileSync(config, '[shims]\npool_size = 0\n');
  const args = [
    '--config',
    config,
    '--root',
    join(folder, 'root'),
    '--state',
    join(folder, 'state'),
    '--cni-conf-dir',
    join(folder, 'cni'),
  ];
  const daemon = new Running(berthd, args);
  test.after(() => daemon.kill('SIGKILL'));
  await daemon.says('berthd serves');
  return { daemon, args, folder };
}

test("its version is the package's", () => {
  const { version: wanted } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string };
  assert.equal(version, wanted);
  assert.equal(run('--version').stdout, `berthd ${wanted}\n`);
});

test('help names every flag', () => {
  const { stdout } = run('--help');
  for (const flag of 'config root state socket cni-conf-dir cni-bin-dir registries-conf default-runtime log-level'.split(
    ' ',
  )) {
    assert.match(stdout, new RegExp(`--${flag} `));
  }
});

test('a command line or a configuration that is wrong is exit code 2, with what is wrong', (t) => {
  for (const args of [['--bogus'], ['run'], ['config'], ['config', 'dump', 'x'], ['--root']]) {
    assert.throws(() => parseCommand(args), { name: 'UsageError' }, args.join(' '));
  }
  const { status, stderr } = run('--bogus');
  assert.deepEqual([status, stderr], [2, `berthd: Unknown option '--bogus'\n"berthd --help" says what there is.\n`]);
  const file = join(temporaryFolder(t), 'config.toml');
  writeFileSync(file, 'a = 1\nb = 2\n');
  const checked = run('config', 'check', file);
  assert.deepEqual(
    [checked.status, checked.stderr],
    [2, `berthd: ${file}:1: unknown key a\nberthd: ${file}:2: unknown key b\n`],
  );
  writeFileSync(file, run('config', 'default').stdout);
  assert.equal(run('config', 'check', file).stdout, `${file}: ok\n`);
  assert.match(run('--log-level', 'debug', '--config', file, 'config', 'dump').stdout, /^\[log\]\nlevel = "debug"$/m);
});

test('it is found through a link, and from any folder', (t) => {
  const link = join(temporaryFolder(t), 'berthd');
  symlinkSync(berthd, link);
  assert.equal(spawnSync(link, ['--version'], { cwd: '/', encoding: 'utf8' }).stdout, `berthd ${version}\n`);
});

test('a second one is refused, SIGUSR1 opens no debugger, and SIGTERM ends it and leaves no socket', async (t) => {
  const { daemon, args, folder } = await start(t);
  const pid = readFileSync(join(folder, 'state/berthd.pid'), 'utf8').trim();
  const second = run(...args);
  assert.equal(second.status, 3);
  assert.match(second.stderr, new RegExp(`another berthd \\(pid ${pid}\\)`));
  process.kill(Number(pid), 'SIGUSR1');
  const third = run(...args);
  assert.equal(third.status, 3, 'it still runs');
  assert.doesNotMatch(daemon.stderr + daemon.stdout, /ebugger/);
  await daemon.kill('SIGTERM');
  assert.equal(await daemon.exited, 0);
  assert.match(daemon.stdout, /berthd has ended/);
  assert.deepEqual(
    readdirSync(join(folder, 'state')).filter((name) => /sock|pid/.test(name)),
    [],
  );
});

test('one that was killed is followed by another at once', async (t) => {
  const { daemon, args, folder } = await start(t);
  await daemon.kill('SIGKILL');
  assert.ok(existsSync(join(folder, 'state/berth.sock')));
  const next = new Running(berthd, args);
  await next.says('berthd serves');
  await next.kill('SIGINT');
  assert.equal(await next.exited, 0);
});

test('no program of ours opens a debugger by signal', () => {
  const launchers = [readFileSync(berthd, 'utf8'), readFileSync(join(repository, 'dist/bin/berthctl'), 'utf8')];
  const shim = readFileSync(join(repository, 'src/native/launcher/host.c'), 'utf8');
  for (const text of [...launchers, shim]) assert.match(text, /--disable-sigusr1/);
});

test("systemd's unit ends nothing but the daemon", () => {
  const unit = readFileSync(join(repository, 'packaging/berthd.service'), 'utf8');
  for (const line of [
    'Type=notify',
    'KillMode=process',
    'Delegate=yes',
    'TasksMax=infinity',
    'Restart=always',
    'OOMScoreAdjust=-999',
  ]) {
    assert.match(unit, new RegExp(`^${line}$`, 'm'));
  }
});
