/** A program run to its end. How it is started and reaped is the caller's business (the shim has one reaper for all children). */
export interface CommandRunner {
  /**
   * Runs the program with these descriptors (index: number in the child, -1: /dev/null) and resolves when it has ended.
   * On `signal` the program is killed and the promise rejects with the signal's reason.
   * @throws SystemError when it cannot be started
   */
  run(command: Command, signal: AbortSignal): Promise<CommandResult>;
}

export interface Command {
  file: string;
  argv: string[];
  cwd?: string;
  fds: number[];
}

export interface CommandResult {
  /** 0 to 255; 128 + n when signal n ended it. */
  exitCode: number;
}

/** Somewhere to keep what a command prints: a descriptor to give to it and its bytes afterwards. */
export interface OutputCapture {
  readonly fd: number;
  /** What was written so far, at most the capture's bound. */
  text(): string;
  close(): void;
}
