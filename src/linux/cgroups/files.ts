import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError } from '../errors.ts';

/** The content of one of a cgroup's files; undefined where the cgroup, the controller or the file is not there. */
export type ReadCgroupFile = (controller: string, name: string) => string | undefined;

const maxUint64 = 2n ** 64n - 1n;

/** What a read of an interface file fails with when the kernel has nothing to tell: gone, or not supported here. */
const absent = ['ENOENT', 'ENODEV', 'ENOTDIR', 'EOPNOTSUPP', 'EINVAL'];

/** Reads from these directories, by controller; `''` is the unified hierarchy. */
export function cgroupFileReader(directories: Record<string, string>): ReadCgroupFile {
  return (controller, name) => {
    const directory = directories[controller];
    return directory === undefined ? undefined : readCgroupFile(join(directory, name));
  };
}

export function readCgroupFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    if (isSystemError(error, ...absent)) return undefined;
    throw error;
  }
}

/** One number as the kernel prints it: `max` is the largest, a negative one (no limit) 0, what is missing or garbled 0. */
export function parseCount(text: string | undefined): bigint {
  const trimmed = text?.trim() ?? '';
  if (trimmed === 'max') return maxUint64;
  return /^[0-9]{1,20}$/.test(trimmed) ? BigInt(trimmed) : 0n;
}

/** Lines of a name, a space and a number. */
export function parseKeyed(text: string | undefined): ReadonlyMap<string, bigint> {
  const values = new Map<string, bigint>();
  for (const line of text?.split('\n') ?? []) {
    const space = line.indexOf(' ');
    if (space > 0) values.set(line.slice(0, space), parseCount(line.slice(space + 1)));
  }
  return values;
}

/** Lines of a name and `key=value` pairs, as in io.stat, rdma.current and the pressure files. */
export function parseNestedKeyed(text: string | undefined): { name: string; values: ReadonlyMap<string, string> }[] {
  return (text?.split('\n') ?? [])
    .map((line) => line.split(' ').filter((field) => field !== ''))
    .filter((fields) => fields.length > 1)
    .map(([name = '', ...pairs]) => ({
      name,
      values: new Map(
        pairs.map((pair): [string, string] => {
          const equals = pair.indexOf('=');
          return [pair.slice(0, equals), pair.slice(equals + 1)];
        }),
      ),
    }));
}

const hugepageFolder = /^hugepages-([0-9]+)kB$/;

/** `hugepages-2048kB` → `2MB`, as the hugetlb controller's files are named. undefined for other names. */
export function hugepageSizeName(folder: string): string | undefined {
  const [, kilobytes] = hugepageFolder.exec(folder) ?? [];
  if (kilobytes === undefined) return undefined;
  const units = ['KB', 'MB', 'GB', 'TB'];
  let size = Number(kilobytes);
  let unit = 0;
  while (size >= 1024 && size % 1024 === 0 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${size}${units[unit] ?? ''}`;
}
