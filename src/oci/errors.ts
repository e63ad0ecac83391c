/** An OCI runtime was run and failed, or could not be run. `reason` says how, so that callers can map it to a status. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError';
  readonly reason: RuntimeFailure;

  constructor(message: string, reason: RuntimeFailure, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}

/**
 * - `missing`: the program is not there or not executable
 * - `timeout`: it ran past its deadline and was killed
 * - `not-found`: it says that it knows no such container
 * - `not-running`: it says that the container is not running
 * - `exists`: it says that the container exists already
 * - `failed`: anything else; the message holds what it logged
 */
export type RuntimeFailure = 'missing' | 'timeout' | 'not-found' | 'not-running' | 'exists' | 'failed';

/** What a runtime's own words mean. runc and crun phrase the same conditions differently. */
export function classifyRuntimeMessage(message: string): RuntimeFailure {
  const text = message.toLowerCase();
  if (/does not exist|no such (container|file or directory.*(state|status))|error opening file.*status/.test(text))
    return 'not-found';
  if (/container not running|no such process|already finished|is not running|not in a running state/.test(text))
    return 'not-running';
  if (/container .*already exists|given id .*exists|id already in use/.test(text)) return 'exists';
  return 'failed';
}
