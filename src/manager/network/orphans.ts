import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const withinMilliseconds = 5000;
const lookAgainMilliseconds = 20;

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
  } catch {
    return []; // it has ended
  }
}

function callsFor(sandboxId: string): number[] {
  const mark = `CNI_CONTAINERID=${sandboxId}`;
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(mark))
    .map(Number)
    .filter((pid) => pid !== process.pid);
}

/**
 * Ends what an earlier daemon was still attaching this pod with when it died: plugins, and what they have started, all of which have
 * the pod's id in their environment. Without it they could finish after we have undone what they do.
 */
export async function endOrphanedCalls(sandboxId: string): Promise<void> {
  const deadline = performance.now() + withinMilliseconds;
  for (let pids = callsFor(sandboxId); pids.length > 0; pids = callsFor(sandboxId)) {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended
      }
    }
    if (performance.now() > deadline) return;
    await sleep(lookAgainMilliseconds);
  }
}
