import { ExitCode } from './exit-codes.ts';
import { QuietExit } from './failure.ts';

/**
 * Does something that Ctrl-C or SIGTERM ends early, which is no failure: the signal aborts then. A second Ctrl-C ends the process at once.
 */
export async function untilInterrupted(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) process.exit(ExitCode.Interrupted);
    controller.abort(new QuietExit(ExitCode.Interrupted));
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}
