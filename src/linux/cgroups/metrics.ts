import { readdirSync, readFileSync } from 'node:fs';
import { isSystemError } from '../errors.ts';
import { cgroupFileReader, hugepageSizeName } from './files.ts';
import type { CgroupDirectories } from './layout.ts';
import { cgroupMetricsV1 } from './metrics-v1.ts';
import type { CgroupMetricsV1 } from './metrics-v1.ts';
import { cgroupMetricsV2 } from './metrics-v2.ts';
import type { CgroupMetricsV2 } from './metrics-v2.ts';

export type CgroupMetrics = { version: 1; metrics: CgroupMetricsV1 } | { version: 2; metrics: CgroupMetricsV2 };

/**
 * All counters of a container's cgroups, those of v2 when only the unified hierarchy is given, else those of v1. What is not there
 * is left out, so that the metrics of a container that is gone are empty.
 */
export function readCgroupMetrics(directories: CgroupDirectories): CgroupMetrics {
  const read = cgroupFileReader(directories);
  const onlyUnified =
    '' in directories && Object.keys(directories).every((name) => name === '' || name.startsWith('name='));
  return onlyUnified
    ? { version: 2, metrics: cgroupMetricsV2(read, hugepageSizes()) }
    : { version: 1, metrics: cgroupMetricsV1(read, readFileSync('/proc/partitions', 'latin1'), hugepageSizes()) };
}

function hugepageSizes(): string[] {
  try {
    return readdirSync('/sys/kernel/mm/hugepages').flatMap((folder) => hugepageSizeName(folder) ?? []);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return [];
    throw error;
  }
}
