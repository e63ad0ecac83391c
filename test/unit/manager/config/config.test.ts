import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Config, configToml, defaultToml, loadConfig } from '../../../../src/manager/config/index.ts';
import { keyLines } from '../../../../src/manager/config/key-lines.ts';
import { parseConfig } from '../../../../src/manager/config/parse.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const file = '/etc/berth/config.toml';
const noRuntimes = { searchPath: '' };

/** What is said of a text, line by line. */
function problems(text: string): string[] {
  try {
    parseConfig(text, file);
  } catch (error) {
    return (error as Error).message.split('\n');
  }
  return [];
}

function load(test: Parameters<typeof temporaryFolder>[0], text: string, flags = {}): Config {
  const path = join(temporaryFolder(test), 'config.toml');
  writeFileSync(path, text);
  return loadConfig({ file: path, flags, ...noRuntimes });
}

test('an unknown key is refused by name and line, with what was probably meant', () => {
  assert.deepEqual(problems('\n# comment\n[network]\nconf_dirr = "/x"\n'), [
    `${file}:4: unknown key network.conf_dirr: did you mean conf_dir?`,
  ]);
  assert.deepEqual(problems('[netwrok]\n'), [`${file}:1: unknown key netwrok: did you mean network?`]);
  assert.deepEqual(problems('conf_dir = "/x"'), [`${file}:1: unknown key conf_dir: did you mean network.conf_dir?`]);
  assert.deepEqual(problems('[log]\nzzzzzzzzzz = 1'), [`${file}:2: unknown key log.zzzzzzzzzz`]);
});

test('a key that every object of JavaScript has is unknown too', () => {
  assert.match(problems('constructor = 1')[0] ?? '', /unknown key constructor/);
  assert.match(problems('[log]\ntoString = 1')[0] ?? '', /unknown key log.toString/);
});

test('a value of the wrong kind is refused with what is expected, and all that is wrong is told at once', () => {
  const text =
    'root = "relative"\n[network]\nbin_dirs = "/x"\nmax_conf_num = 1.5\n[log]\nlevel = "loud"\n[cgroups]\ndriver = 7\n';
  assert.deepEqual(problems(text), [
    `${file}:1: root must be an absolute path, not "relative"`,
    `${file}:3: network.bin_dirs must be a list of absolute paths, not "/x"`,
    `${file}:4: network.max_conf_num must be a whole number from 1 to 100, not 1.5`,
    `${file}:6: log.level must be one of "trace", "debug", "info", "warn", "error", "fatal", "silent", not "loud"`,
    `${file}:8: cgroups.driver must be one of "", "cgroupfs", "systemd", not 7`,
  ]);
});

test('what is no TOML is refused with its line', () => {
  const [problem = ''] = problems('root = "/x"\nstate = [');
  assert.match(problem, new RegExp(`^${file}:2: Invalid TOML`));
});

test('a section that is written as a value is refused', () => {
  assert.deepEqual(problems('network = 5'), [`${file}:1: network is a section: write [network] and its keys below`]);
});

test('a runtime is an OCI runtime or a shim, and not both', () => {
  assert.deepEqual(
    parseConfig('[runtimes.a]\nbinary = "crun"\n[runtimes."b.c"]\nshim = "containerd-shim-runc-v2"', file).handlers,
    {
      a: { binary: 'crun', shim: '', root: '' },
      'b.c': { binary: '', shim: 'containerd-shim-runc-v2', root: '' },
    },
  );
  const needs = 'needs either binary (an OCI runtime) or shim (a containerd shim v2)';
  assert.deepEqual(problems('[runtimes.a]'), [`${file}:1: [runtimes.a] ${needs}`]);
  assert.deepEqual(problems('[runtimes.a]\nbinary = "x"\nshim = "y"'), [`${file}:1: [runtimes.a] ${needs}`]);
  assert.match(problems('[runtimes."../x"]\nbinary = "x"')[0] ?? '', /is no name for a runtime/);
  assert.deepEqual(problems('[runtimes.a]\nbinary = "x"\nbinaries = "y"'), [
    `${file}:3: unknown key runtimes.a.binaries: did you mean binary?`,
  ]);
});

test('the default file changes nothing, and with its keys uncommented it still says the defaults', (t) => {
  const fallback = load(t, '');
  assert.deepEqual(load(t, defaultToml()), fallback);
  const uncommented = defaultToml()
    .replace(/^# (\w+ = .*)$/gm, '$1')
    .replace(/\n# \[runtimes.crun\][^]*/, '');
  assert.deepEqual(load(t, uncommented), fallback);
  assert.equal(fallback.socket, '/run/berth/berth.sock');
  assert.ok(fallback.images.unpackConcurrency > 0);
});

test('what is dumped says the same when it is read again', (t) => {
  const text =
    'state = "/s\\u00e4"\n[runtimes]\ndefault = "a.b"\n[runtimes."a.b"]\nbinary = "/x \\"y\\""\n[network]\nbin_dirs = ["/a", "/b"]\n';
  const config = load(t, text);
  assert.deepEqual(load(t, configToml(config)), config);
  assert.equal(config.socket, '/sä/berth.sock');
});

test('flags come before the file, and the file before the defaults', (t) => {
  const text = 'root = "/file"\nstate = "/file"\n[network]\nbin_dirs = ["/file"]\n';
  const config = load(t, text, { root: '/flag', cniBinDirs: ['/a', '/b'], logLevel: 'debug' });
  assert.deepEqual(
    [config.root, config.state, config.network.binDirs, config.log.level],
    ['/flag', '/file', ['/a', '/b'], 'debug'],
  );
  assert.throws(() => load(t, '', { root: 'x', logLevel: 'loud' }), {
    name: 'ConfigError',
    message: /^--root must be an absolute path, not "x"\n--log-level must be one of/,
  });
});

test('the file that is there by default may be missing, one that was named may not', (t) => {
  const missing = join(temporaryFolder(t), 'none.toml');
  assert.throws(() => loadConfig({ file: missing, flags: {}, ...noRuntimes }), {
    name: 'ConfigError',
    message: /no such file.*config default/,
  });
});

test('without a runtime in the file, crun and runc are taken as they are found', (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'crun')); // a folder is no program
  writeFileSync(join(folder, 'runc'), '', { mode: 0o755 });
  const file = join(folder, 'config.toml');
  writeFileSync(file, '');
  const found = loadConfig({ file, flags: {}, searchPath: folder }).runtimes;
  assert.deepEqual(found, { default: '', handlers: { runc: { binary: join(folder, 'runc'), shim: '', root: '' } } });
  assert.throws(() => loadConfig({ file, flags: { defaultRuntime: 'rumc' }, searchPath: folder }), {
    message: 'the default runtime "rumc" is no configured runtime (there are runc): did you mean runc?',
  });
});

test('keys are found on their lines, whatever stands before them', () => {
  const text = [
    'a = """ # no',
    'x = 1 [no]',
    '""" # yes',
    "b = ['[', ']', # more",
    '  "]",',
    ']',
    'c.d."e f" = { g = 1, h = [ { i = 2 } ] }',
    '[t.u] # table',
    "'quoted key' = 1979-05-27 07:32:00",
    'last = "\\"x = 1"',
    '[[list]]',
    'k = true',
  ].join('\n');
  const lines = keyLines(text);
  const wanted = {
    a: 1,
    b: 4,
    'c.d.e f': 7,
    'c.d.e f.g': 7,
    'c.d.e f.h': 7,
    't.u': 8,
    't.u.quoted key': 9,
    't.u.last': 10,
    list: 11,
    'list.k': 12,
  };
  for (const [key, line] of Object.entries(wanted)) assert.equal(lines.get(key), line, key);
});
