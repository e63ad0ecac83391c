/**
 * Stand-ins for the images that critest names, made of Debian's packages: busybox with what its tests call, nginx with its libraries,
 * and three small C programs. They are made once, put into a registry, and the registry's storage is kept in the cache folder, by the
 * hash of this file and of what packs them.
 */
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheFolder } from '../support/cache.ts';
import { command, type CommandOptions } from '../support/command.ts';
import { Unavailable } from '../support/go.ts';
import { type ImageConfig, type Layer, OciLayout } from '../support/oci-layout.ts';
import { Registry } from '../support/registry.ts';

/** The registries whose images are stood in for. */
export const mirroredRegistries = ['registry.k8s.io', 'gcr.io', 'k8s.gcr.io'];

const madeOf = [import.meta.filename, join(import.meta.dirname, '../support/oci-layout.ts')];
/** Packages that are unpacked and not installed: Debian's static busybox runs `ls` in the shell itself, which some specs must not see. */
const packages = ['busybox', 'nginx'];
const buildMilliseconds = 120_000;

const passwd = [
  'root:x:0:0:root:/root:/bin/sh',
  'www-data:x:33:33:www-data:/www:/bin/false',
  'nobody:x:65534:65534:nobody:/home:/bin/false',
  'default-user:x:1000:1000::/home:/bin/sh',
];
const group = [
  'root:x:0:',
  'www-data:x:33:',
  'nogroup:x:65534:',
  'default-user:x:1000:',
  'group-defined-in-image:x:50000:default-user',
];

const pauseProgram = `
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void collect(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, collect); for (;;) pause(); }
`;
const effectiveUserProgram = `
#include <stdio.h>
#include <unistd.h>
int main(void) { return printf("Effective uid: %d\\n", (int)geteuid()) < 0; }
`;

const nginxConf = (port: number) => `
user root;
worker_processes 1;
pid /var/run/nginx.pid;
error_log /dev/stderr;
events { worker_connections 64; }
http {
  access_log /dev/stdout;
  server { listen ${port}; root /usr/share/nginx/html; }
}
`;

/** The storage folder of a registry that has all stand-ins; made first where it is not there. It is only to be read from. */
export async function standIns(say: (line: string) => void): Promise<string> {
  const key = createHash('sha256');
  for (const path of madeOf) key.update(readFileSync(path));
  const storage = join(cacheFolder, `stand-ins-${key.digest('hex').slice(0, 16)}`);
  if (existsSync(storage)) return storage;
  say('making stand-ins for the images of the suite from Debian packages; they are kept for the next run');
  mkdirSync(cacheFolder, { recursive: true });
  const work = mkdtempSync(join(cacheFolder, 'stand-ins.'));
  try {
    await new Maker(work).make();
    renameSync(join(work, 'storage'), storage);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return storage;
}

class Maker {
  readonly #work: string;
  readonly #layout: OciLayout;

  constructor(work: string) {
    this.#work = work;
    this.#layout = new OciLayout(join(work, 'layout'));
  }

  async make(): Promise<void> {
    await this.#unpackPackages();
    const busybox = await this.#busybox();
    const names = [
      ...this.#images(busybox, await this.#marks()),
      ...(await this.#pause()),
      ...(await this.#noNewPrivileges(busybox)),
      ...(await this.#webServers(busybox)),
    ];
    await this.#push(names);
  }

  async #unpackPackages(): Promise<void> {
    const folder = join(this.#work, 'packages');
    mkdirSync(folder);
    chmodSync(this.#work, 0o755); // apt downloads as a user of its own, and warns where it cannot
    chmodSync(folder, 0o777);
    // The lists of packages may be missing, or too old.
    const download =
      'cd "$1" && shift && { apt-get -q download "$@" || { apt-get -q update && apt-get -q download "$@"; }; }';
    await run('sh', ['-c', download, 'sh', folder, ...packages], 'apt-get download');
    const unpack = 'for deb in "$1"/*.deb; do dpkg -x "$deb" "$2"; done';
    await run('sh', ['-e', '-c', unpack, 'sh', folder, this.#unpacked()], 'dpkg -x');
  }

  #unpacked(...path: string[]): string {
    return join(this.#work, 'unpacked', ...path);
  }

  #root(name: string): string {
    return join(this.#work, 'roots', name);
  }

  /** Puts a file there, and folders for it. */
  #write(root: string, path: string, text: string): void {
    const file = join(this.#root(root), path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  /** Puts a program there, with the libraries that it is linked with. */
  async #addProgram(root: string, program: string, path: string): Promise<void> {
    const file = join(this.#root(root), path);
    mkdirSync(dirname(file), { recursive: true });
    copyFileSync(program, file);
    chmodSync(file, 0o755);
    const libraries = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu', 'usr/lib/aarch64-linux-gnu'];
    const env = { ...process.env, LD_LIBRARY_PATH: libraries.map((one) => this.#unpacked(one)).join(':') };
    const text = await run('ldd', [program], 'ldd', { env });
    const missing = /(\S+) => not found/.exec(text)?.[1];
    if (missing !== undefined) throw new Unavailable(`${program} needs ${missing}, which is not on this machine`);
    for (const [library] of text.matchAll(/\/\S+/g)) {
      if (library.endsWith(':')) continue;
      const copy = join(this.#root(root), library.replace(this.#unpacked(), ''));
      mkdirSync(dirname(copy), { recursive: true });
      copyFileSync(library, copy);
      chmodSync(copy, 0o755);
    }
  }

  async #busybox(): Promise<Layer> {
    const root = 'busybox';
    for (const name of [
      'bin',
      'dev',
      'home',
      'proc',
      'root',
      'sys',
      'usr/bin',
      'usr/sbin',
      'var/log',
      'var/run',
      'www',
    ]) {
      mkdirSync(join(this.#root(root), name), { recursive: true });
    }
    const program = this.#unpacked('bin/busybox');
    await this.#addProgram(root, program, 'bin/busybox');
    const applets = (await run(program, ['--list'], 'busybox --list')).split('\n').filter(Boolean);
    // Hard links: a path that is masked must not mask them all.
    for (const applet of applets.filter((name) => name !== 'busybox')) {
      linkSync(join(this.#root(root), 'bin/busybox'), join(this.#root(root), 'bin', applet));
    }
    // Debian's busybox leaves them out.
    for (const name of ['pgrep', 'ipcs']) await this.#addProgram(root, `/usr/bin/${name}`, `usr/bin/${name}`);
    this.#write(root, 'etc/passwd', `${passwd.join('\n')}\n`);
    this.#write(root, 'etc/group', `${group.join('\n')}\n`);
    mkdirSync(join(this.#root(root), 'tmp'));
    chmodSync(join(this.#root(root), 'tmp'), 0o1777);
    return await this.#layer(root);
  }

  async #layer(root: string): Promise<Layer> {
    return await this.#layout.addLayer(this.#root(root), { gzip: true });
  }

  /** A layer with one small file, for each image that must be another than the rest. */
  async #marks(): Promise<Map<string, Layer>> {
    const marks = new Map<string, Layer>();
    for (const name of ['1', '2', '3', 'tags', 'latest', 'tag-test', 'tag-all']) {
      this.#write(`mark-${name}`, `test-${name}`, `${name}\n`);
      marks.set(name, await this.#layer(`mark-${name}`));
    }
    return marks;
  }

  #image(name: string, layers: Layer[], config: ImageConfig): string {
    this.#layout.addImage(name, layers, config);
    return name;
  }

  #images(busybox: Layer, marks: Map<string, Layer>): string[] {
    const shell = { Cmd: ['sh'] };
    const image = (name: string, mark: string) =>
      this.#image(`k8s-staging-cri-tools/test-image-${name}`, [busybox, marks.get(mark) as Layer], shell);
    const withUser = (name: string, user: string) =>
      this.#image(`k8s-staging-cri-tools/test-image-${name}:latest`, [busybox], { ...shell, User: user });
    return [
      this.#image('e2e-test-images/busybox:1.29-2', [busybox], shell),
      ...['1', '2', '3'].map((number) => image(`${number}:latest`, number)),
      ...['1', '2', '3'].map((tag) => image(`tags:${tag}`, 'tags')),
      image('latest:latest', 'latest'),
      image('tag:test', 'tag-test'),
      image('tag:all', 'tag-all'),
      withUser('user-uid', '1002'),
      withUser('user-username', 'www-data'),
      withUser('user-uid-group', '1003:1004'),
      withUser('user-username-group', 'www-data:100'),
      withUser('predefined-group', '1000'),
    ];
  }

  async #compile(program: string, root: string, path: string): Promise<void> {
    const source = join(this.#work, 'program.c');
    writeFileSync(source, program);
    const file = join(this.#root(root), path);
    mkdirSync(dirname(file), { recursive: true });
    await run('gcc', ['-static', '-Os', '-s', '-o', file, source], 'gcc');
  }

  async #pause(): Promise<string[]> {
    await this.#compile(pauseProgram, 'pause', 'pause');
    const layer = await this.#layer('pause');
    // containerd's own default is 3.6.
    return ['3.6', '3.9'].map((tag) => this.#image(`pause:${tag}`, [layer], { Entrypoint: ['/pause'] }));
  }

  async #noNewPrivileges(busybox: Layer): Promise<string[]> {
    await this.#compile(effectiveUserProgram, 'nnp', 'bin/nnp');
    chmodSync(join(this.#root('nnp'), 'bin/nnp'), 0o4755);
    const config = { User: '1000', Entrypoint: ['/bin/nnp'] };
    return [this.#image('e2e-test-images/nonewprivs:1.3', [busybox, await this.#layer('nnp')], config)];
  }

  async #webServers(busybox: Layer): Promise<string[]> {
    const root = 'nginx';
    await this.#addProgram(root, this.#unpacked('usr/sbin/nginx'), 'usr/sbin/nginx');
    for (const name of ['var/log/nginx', 'var/lib/nginx/body']) {
      mkdirSync(join(this.#root(root), name), { recursive: true });
    }
    this.#write(root, 'usr/share/nginx/html/index.html', '<html><title>Welcome</title><h1>It works!</h1></html>\n');
    this.#write(root, 'etc/nginx/nginx.conf', nginxConf(80));
    const nginx = await this.#layer(root);
    this.#write('hostnet', 'etc/nginx/nginx.conf', nginxConf(12003));
    const onHostNetwork = await this.#layer('hostnet');

    const foreground = { Entrypoint: ['/usr/sbin/nginx'], Cmd: ['-g', 'daemon off;'] };
    const httpd = { Entrypoint: ['/bin/sh', '-c', 'echo httpd; exec /usr/sbin/nginx -g "daemon off;"'] };
    const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string] ?? process.arch;
    return [
      this.#image('e2e-test-images/nginx:1.14-2', [busybox, nginx], foreground),
      this.#image('e2e-test-images/httpd:2.4.39-4', [busybox, nginx], httpd),
      this.#image(
        `k8s-staging-cri-tools/hostnet-nginx-${architecture}:latest`,
        [busybox, nginx, onHostNetwork],
        foreground,
      ),
    ];
  }

  async #push(names: readonly string[]): Promise<void> {
    const storage = join(this.#work, 'storage');
    await using registry = await Registry.start({ folder: this.#work, storage });
    for (const name of names) {
      const to = `docker://${registry.address}/${name}`;
      await run(
        'skopeo',
        ['copy', '--quiet', '--dest-tls-verify=false', `oci:${this.#layout.folder}:${name}`, to],
        'skopeo',
      );
    }
  }
}

async function run(file: string, args: string[], what: string, options: CommandOptions = {}): Promise<string> {
  const result = await command(file, args, { deadlineMilliseconds: buildMilliseconds, ...options }).catch(
    (error: unknown) => {
      throw new Unavailable(`${what} cannot be run: ${String(error)}; scripts/setup installs what is needed`);
    },
  );
  if (result.code !== 0) throw new Unavailable(`${what}: ${result.stderr.trim()}`);
  return result.stdout;
}
