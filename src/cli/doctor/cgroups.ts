import { failure, type Finding, ok, warning } from './finding.ts';
import type { Host } from './host.ts';

const needed = ['cpu', 'memory', 'pids'];
const wanted = ['cpuset'];

/** How cgroups are mounted. */
export interface CgroupLayout {
  readonly kind: 'v1' | 'v2' | 'hybrid' | 'none';
  readonly controllers: readonly string[];
  /** Of the v2 tree beside a v1 one. */
  readonly beside: readonly string[];
}

export async function cgroupLayout(host: Host): Promise<CgroupLayout> {
  const mounts = ((await host.read('/proc/self/mountinfo')) ?? '').split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ');
    const [type = '', , options = ''] = after.split(' ');
    return type.startsWith('cgroup') ? [{ path: before.split(' ')[4] ?? '', type, options: options.split(',') }] : [];
  });
  const unified = mounts.find(({ type }) => type === 'cgroup2');
  const second = unified && wordsOf(await host.read(`${unified.path}/cgroup.controllers`));
  const first = mounts.filter(({ type }) => type === 'cgroup').flatMap(({ options }) => options);
  const all = (await host.read('/proc/cgroups')) ?? '';
  const known = all
    .split('\n')
    .flatMap((line) => (line.startsWith('#') || line === '' ? [] : [line.split('\t')[0] ?? '']));
  const controllers = known.filter((name) => first.includes(name));
  if (controllers.length === 0) return { kind: unified ? 'v2' : 'none', controllers: second ?? [], beside: [] };
  return { kind: unified ? 'hybrid' : 'v1', controllers, beside: second ?? [] };
}

function wordsOf(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}

export function checkCgroups({ kind, controllers, beside }: CgroupLayout): Finding[] {
  const what = 'cgroups';
  if (kind === 'none') {
    return [failure(what, 'no cgroups are mounted', 'mount -t cgroup2 none /sys/fs/cgroup')];
  }
  const name = kind === 'hybrid' ? `v1 with v2 beside it${beside.length > 0 ? ` (${beside.join(', ')})` : ''}` : kind;
  const missing = needed.filter((controller) => !controllers.includes(controller));
  if (missing.length > 0) {
    const mend =
      kind === 'v2'
        ? `echo ${missing.map((one) => `+${one}`).join(' ')} > /sys/fs/cgroup/cgroup.subtree_control, in each cgroup above this one`
        : 'add cgroup_enable=memory to the kernel command line, and boot';
    return [failure(what, `${name} without ${missing.join(', ')}`, mend)];
  }
  const lacking = wanted.filter((controller) => !controllers.includes(controller));
  if (lacking.length > 0)
    return [warning(what, `${name} without ${lacking.join(', ')}: containers cannot be bound to processors`)];
  return [ok(what, `${name}, with ${controllers.join(', ')}`)];
}
