/** How long each kind of thing may take, milliseconds; past it the call fails with DEADLINE_EXCEEDED and harms no other. */
export interface Deadlines {
  /** The `start` command of a shim. */
  readonly startMs: number;
  /** Connecting to a shim that listens. */
  readonly connectMs: number;
  /** What a shim answers from what it knows: State, Pids, Stats, Kill. */
  readonly answerMs: number;
  /** What needs the OCI runtime, which our shim kills after 120 s. */
  readonly runtimeMs: number;
  /** Starting the process of a sandbox, or ending one and its members. */
  readonly sandboxMs: number;
  /** From Shutdown's answer until the shim is gone; it delivers its last events meanwhile. */
  readonly shutdownMs: number;
  /** The `delete` command of a shim. */
  readonly deleteMs: number;
  /** From SIGKILL to the end of a process. */
  readonly killMs: number;
  /** From the end of a process to the end of its output, which a descendant may hold open. */
  readonly drainMs: number;
}

export const defaultDeadlines: Deadlines = {
  startMs: 20_000,
  connectMs: 5_000,
  answerMs: 10_000,
  runtimeMs: 125_000,
  sandboxMs: 30_000,
  shutdownMs: 10_000,
  deleteMs: 30_000,
  killMs: 5_000,
  drainMs: 2_000,
};

/** Resolves to false when the promise has not settled by then. What it rejects with is thrown. */
export async function within(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const late = Promise.withResolvers<false>();
  const timer = setTimeout(() => late.resolve(false), milliseconds);
  try {
    return await Promise.race([promise.then(() => true), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
