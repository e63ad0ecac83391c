import { failure, type Finding, ok } from './finding.ts';
import type { Host } from './host.ts';

const profile = '/usr/share/containers/seccomp.json';

/** Whether system calls of containers can be filtered. */
export async function checkSecurity(host: Host): Promise<Finding[]> {
  const what = 'seccomp';
  const actions = await host.read('/proc/sys/kernel/seccomp/actions_avail');
  if (actions === undefined) {
    return [failure(what, 'the kernel has no seccomp filters', 'boot a kernel with CONFIG_SECCOMP_FILTER')];
  }
  const text = await host.read(profile);
  const install = 'apt-get install golang-github-containers-common';
  if (text === undefined)
    return [failure(what, `there is no profile ${profile}, so containers with RuntimeDefault do not start`, install)];
  try {
    JSON.parse(text);
  } catch {
    return [failure(what, `the profile ${profile} is no JSON`, install.replace('install', 'install --reinstall'))];
  }
  return [ok(what, `filters, and the profile ${profile}`)];
}
