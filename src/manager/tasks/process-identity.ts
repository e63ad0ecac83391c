import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { isSystemError, readProcessStatus, type NativeAddon } from '../../linux/index.ts';

const sigkill = 9;
const lookAgainMs = 10;

/** A process, told from a later one with its number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, in decimal. */
  readonly startTicks: string;
}

/** undefined when there is no such process. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const status = pid > 0 ? readProcessStatus(pid) : undefined;
  return status && { pid, startTicks: status.startTicks.toString() };
}

/** Whether it runs. One that has ended and was not collected yet does not. */
export function isRunning({ pid, startTicks }: ProcessIdentity): boolean {
  const status = pid > 0 ? readProcessStatus(pid) : undefined;
  return status?.startTicks.toString() === startTicks && !/[ZX]/.test(status.state);
}

/** Sends SIGKILL and waits for the end. False when it is still there after that time: it is stuck in the kernel. */
export async function killProcess(identity: ProcessIdentity, native: NativeAddon, timeoutMs: number): Promise<boolean> {
  let pidfd: number;
  try {
    pidfd = native.pidfdOpen(identity.pid);
  } catch (error) {
    if (isSystemError(error, 'ESRCH', 'EINVAL')) return true;
    throw error;
  }
  try {
    // The descriptor is of one process: if that is ours now, it is the one that gets the signal.
    if (!isRunning(identity)) return true;
    native.pidfdSendSignal(pidfd, sigkill);
  } catch (error) {
    if (!isSystemError(error, 'ESRCH')) throw error;
  } finally {
    closeSync(pidfd);
  }
  return await hasEnded(identity, timeoutMs);
}

/** Waits for its end; false when it still runs after that time. */
export async function hasEnded(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  while (isRunning(identity)) {
    if (performance.now() > deadline) return false;
    await sleep(lookAgainMs);
  }
  return true;
}
