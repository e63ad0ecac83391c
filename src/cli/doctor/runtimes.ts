import type { CgroupLayout } from './cgroups.ts';
import { failure, type Finding, ok } from './finding.ts';
import type { Host } from './host.ts';

const names = ['crun', 'runc'];

/** Whether there is an OCI runtime that works with this cgroup layout. */
export async function checkRuntimes(host: Host, layout: CgroupLayout): Promise<Finding[]> {
  const what = 'runtime';
  const good: string[] = [];
  const bad: string[] = [];
  for (const name of names) {
    const path = await host.find(name);
    if (path === undefined) continue;
    const output = await host.run(path, ['--version']);
    if (output instanceof Error) {
      bad.push(`${path} does not run: ${output.message.trim().split('\n')[0] ?? ''}`);
    } else if (name === 'crun' && layout.kind === 'hybrid' && layout.beside.length > 0) {
      bad.push(`${path} refuses cgroups v1 with controllers in v2 (${layout.beside.join(', ')})`);
    } else {
      good.push(`${path} (${/(\d+\.\d+[\w.+~-]*)/.exec(output)?.[1] ?? 'unknown version'})`);
    }
  }
  if (good.length > 0) {
    const note = bad.length > 0 ? `; ${bad.join('; ')}` : '';
    return [ok(what, `${good.join(', ')}${note}`)];
  }
  if (bad.length === 0) return [failure(what, 'there is neither crun nor runc', 'apt-get install runc')];
  return [failure(what, bad.join('; '), 'apt-get install runc')];
}

/** Whether what fetches images is there. */
export async function checkImageTools(host: Host): Promise<Finding[]> {
  const skopeo = await host.find('skopeo');
  const found = skopeo === undefined ? undefined : await host.run(skopeo, ['--version']);
  const pulls =
    skopeo === undefined
      ? failure('skopeo', 'there is no skopeo, so nothing can be pulled, loaded or saved', 'apt-get install skopeo')
      : found instanceof Error
        ? failure(
            'skopeo',
            `${skopeo} does not run: ${found.message.trim().split('\n')[0] ?? ''}`,
            'apt-get install --reinstall skopeo',
          )
        : ok('skopeo', `${skopeo} (${/(\d+\.\d+[\w.+~-]*)/.exec(found ?? '')?.[1] ?? 'unknown version'})`);
  return [pulls];
}
