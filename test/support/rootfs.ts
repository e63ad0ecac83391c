import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const busybox = '/bin/busybox';

/** Makes a root file system of Debian's static busybox: a shell and its tools, root and one other user. */
export function makeBusyboxRootfs(folder: string): void {
  for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'usr/bin', 'var']) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  copyFileSync(busybox, join(folder, 'bin/busybox'));
  const applets = spawnSync(busybox, ['--list'], { encoding: 'utf8' }).stdout.split('\n');
  for (const applet of applets.filter((name) => name !== '' && name !== 'busybox')) {
    symlinkSync('busybox', join(folder, 'bin', applet));
  }
  writeFileSync(join(folder, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nguest:x:1000:1000::/tmp:/bin/sh\n');
  writeFileSync(join(folder, 'etc/group'), 'root:x:0:\nguest:x:1000:\n');
}
