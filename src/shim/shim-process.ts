import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { detectCgroupLayout, type NativeAddon } from '../linux/index.ts';
import type { ShimConfig } from './config.ts';

const processGroupScope = 2;
const maxOomScoreAdj = 1000;
const scoreFile = '/proc/self/oom_score_adj';

/** Makes this process what a shim is: reaper of its descendants, in its cgroup, a little easier to kill than its manager. */
export function takeShimPlace(native: NativeAddon, config: ShimConfig, shimCgroup: string): void {
  native.setSubreaper();
  if (config.coreScheduling) native.createCoreSchedulingCookie(0, processGroupScope);
  if (shimCgroup !== '') joinCgroup(shimCgroup);
  yieldToManager();
  detachStandardDescriptors(native);
  process.chdir('/');
}

/** Nobody must wait for the end of our stdin, stdout and stderr: they belong to whoever started us. */
function detachStandardDescriptors(native: NativeAddon): void {
  const nothing = openSync('/dev/null', 'r+');
  for (const fd of [0, 1, 2]) native.duplicateTo(nothing, fd);
  closeSync(nothing);
}

function joinCgroup(path: string): void {
  const { mode, hierarchies } = detectCgroupLayout();
  for (const [controller, { mountPoint }] of hierarchies) {
    if ((mode === 'v2') !== (controller === '')) continue;
    writeFileSync(join(mountPoint, path, 'cgroup.procs'), String(process.pid));
  }
}

function yieldToManager(): void {
  const score = ownScore();
  if (score < maxOomScoreAdj) writeFileSync(scoreFile, String(score + 1));
}

/**
 * The oom_score_adj nearest to the wanted one that this process can give to its children. Going lower than one has ever been
 * takes CAP_SYS_RESOURCE, which a shim in a container or a hardened unit may lack.
 */
export function allowedOomScoreAdj(wanted: number): number {
  const current = ownScore();
  if (wanted >= current || canHaveScore(wanted, current)) return wanted;
  let refused = wanted;
  let allowed = current;
  while (allowed - refused > 1) {
    const middle = Math.floor((allowed + refused) / 2);
    if (canHaveScore(middle, current)) allowed = middle;
    else refused = middle;
  }
  return allowed;
}

function canHaveScore(score: number, current: number): boolean {
  try {
    writeFileSync(scoreFile, String(score));
    writeFileSync(scoreFile, String(current));
    return true;
  } catch {
    return false;
  }
}

function ownScore(): number {
  return Number(readFileSync(scoreFile, 'utf8'));
}
