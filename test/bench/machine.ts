import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import type { Contestant } from './contestants.ts';
import { ociRuntimes, shimBinary } from '../support/paths.ts';

/** What a program says, without what is around it; '' for one that cannot be run. */
export const output = (file: string, ...args: string[]) => {
  try {
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  } catch {
    return '';
  }
};

/** Processors, memory, kernel and cgroups, in one line. */
export function describeHost(): string {
  const processors = cpus();
  const gigabytes = (totalmem() / 1e9).toFixed(0);
  const model = processors[0]?.model.trim() ?? 'unknown';
  const layout = existsSync('/sys/fs/cgroup/cgroup.controllers') ? 'cgroup v2' : 'cgroup v1';
  return `${processors.length} CPUs (${model}), ${gigabytes} GB, Linux ${release()}, ${layout}`;
}

/** Where and with what the measurements were made, a line for each thing. */
export function describeMachine(contestants: readonly Contestant[]): string[] {
  const host = describeHost();
  const versionOf = (shim: string) => {
    const text = output(shim, '-v');
    return /Version:\s*(\S+)/i.exec(text)?.[1] ?? text.split('\n')[0] ?? '';
  };
  return [
    host.endsWith('v1') ? `${host} (cgroup2 unmounted for this run: crun refuses both at once)` : host,
    ...[...new Set(contestants.map(({ shim }) => shim))].map(
      (shim) => `${shim === shimBinary ? 'ours' : shim}: ${versionOf(shim)}`,
    ),
    ...[...new Set(contestants.map(({ runtime }) => runtime))].map(
      (name) => output(ociRuntimes[name], '--version').split('\n')[0] ?? '',
    ),
    `driven by Node ${process.versions.node}, directly over ttRPC, without a daemon`,
  ];
}
