import { killCgroup, processesInCgroups, type CgroupDirectories } from '../linux/index.ts';

const sigkill = 9;
/** What forks while it is being killed is caught by the next round. */
const maxRounds = 20;

/** SIGKILL for every process in the cgroups, until no new one shows up (on cgroup v1 those that were killed stay listed for a while). */
export function killAll(cgroups: CgroupDirectories): void {
  const seen = new Set<number>();
  for (let round = 0; round < maxRounds; round++) {
    const fresh = processesInCgroups(cgroups).filter((pid) => !seen.has(pid));
    if (fresh.length === 0) return;
    for (const pid of fresh) seen.add(pid);
    killCgroup(cgroups, sigkill);
  }
}
