/** What berthctl ends with; docs/berthctl.md and `berthctl help` say the same. */
export const ExitCode = {
  Success: 0,
  Failure: 1,
  /** The command line is not understood. */
  Usage: 2,
  /** No such container, pod or image. */
  NotFound: 3,
  /** Nobody answers on the socket, or not in time. */
  NoAnswer: 4,
  /** This version of berthctl or of the server cannot do that. */
  NotSupported: 5,
  /** `run` and `exec`: berthctl or berthd failed, as distinct from the command. */
  RunFailed: 125,
  /** `run`: the command is there and cannot be executed. */
  CannotExecute: 126,
  /** `run`: the command is not there. */
  CommandNotFound: 127,
  /** Ended by Ctrl-C. */
  Interrupted: 130,
} as const;
