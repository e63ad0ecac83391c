import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../support/cache.ts';
import { command } from '../support/command.ts';

const kernels = join(cacheFolder, 'kernel');
/** Debian's kernels for virtual machines, the better first: they have virtio-fs and the virtio console built in and need no initramfs. */
const metaPackages = ['linux-image-6.12-cloud-amd64', 'linux-image-cloud-amd64'];
const downloadMilliseconds = 100_000;

/**
 * The path of a kernel image that a virtual machine can boot: the one in the cache, else Debian's, fetched with apt and put there.
 * Nothing is installed.
 * @throws Error that says what to do when there is none
 */
export async function kernelImage(): Promise<string> {
  const cached = existsSync(kernels) ? readdirSync(kernels).find((name) => name.startsWith('vmlinuz-')) : undefined;
  if (cached !== undefined) return join(kernels, cached);
  const reasons: string[] = [];
  // Lists that are there may be good enough; an image without any, or with old ones, needs new ones.
  for (const refresh of [false, true]) {
    if (refresh) await apt(reasons, 'apt-get', ['update', '-q']);
    for (const metaPackage of metaPackages) {
      const image = await fetchImage(metaPackage, reasons);
      if (image !== undefined) return image;
    }
  }
  throw new Error(
    `no kernel for the virtual machine: neither ${metaPackages.join(' nor ')} could be fetched from Debian. ` +
      `Give apt a mirror of Debian 12 that can be reached, or put a kernel image with virtio-fs built in at ` +
      `${kernels}/vmlinuz-VERSION.\n${reasons.join('\n')}`,
  );
}

/** undefined, and a reason more, when it is not to be had. */
async function fetchImage(metaPackage: string, reasons: string[]): Promise<string | undefined> {
  const depends = (await apt(reasons, 'apt-cache', ['depends', '--important', metaPackage])) ?? '';
  const name = /^ +Depends: (linux-image-\S+)$/m.exec(depends)?.[1];
  if (name === undefined) return undefined;
  mkdirSync(kernels, { recursive: true });
  const folder = mkdtempSync(join(kernels, 'fetch-'));
  try {
    // apt-get downloads into the folder that it is started in.
    const script = [
      'cd "$0"',
      'apt-get download -q "$1"',
      'dpkg-deb --fsys-tarfile ./*.deb | tar -x --strip-components=2 --wildcards "./boot/vmlinuz-*"',
    ];
    if ((await apt(reasons, 'sh', ['-e', '-c', script.join('\n'), folder, name])) === undefined) return undefined;
    const file = readdirSync(folder).find((entry) => entry.startsWith('vmlinuz-'));
    if (file === undefined) return undefined;
    const image = join(kernels, file);
    renameSync(join(folder, file), image);
    return image;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What it printed; undefined, and a reason more, when it failed. */
async function apt(reasons: string[], file: string, args: string[]): Promise<string | undefined> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LANG: 'C.UTF-8' };
  const { code, stdout, stderr } = await command(file, args, { env, deadlineMilliseconds: downloadMilliseconds });
  if (code === 0) return stdout;
  reasons.push(`${[file, ...args].join(' ')}: exit code ${code}: ${stderr.trim()}`);
  return undefined;
}
