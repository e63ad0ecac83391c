import { ExitCode } from './exit-codes.ts';

/**
 * Why berthctl could not do what it was asked. The message is "<what failed>: <why>"; `next` is a sentence or command that helps.
 *
 * @example throw new Failure('cannot read pod.json: no such file', { next: 'check the path' });
 */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: number;
  readonly next: string | undefined;

  /** `exitCode` defaults to 1. */
  constructor(message: string, options: { exitCode?: number; next?: string | undefined; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? ExitCode.Failure;
    this.next = options.next;
  }
}

/** The command line is not understood: exit code 2. */
export class UsageError extends Failure {
  constructor(message: string, next?: string) {
    super(message, { exitCode: ExitCode.Usage, next });
  }
}

/** There is no such thing: exit code 3. */
export class NotFoundError extends Failure {
  constructor(message: string, next?: string) {
    super(message, { exitCode: ExitCode.NotFound, next });
  }
}

/** That cannot be done by this version: exit code 5. */
export class NotSupportedError extends Failure {
  constructor(message: string, next?: string) {
    super(message, { exitCode: ExitCode.NotSupported, next });
  }
}

/** A container or a berthctl of its own decides the exit code, and all has been said. */
export class QuietExit extends Error {
  readonly exitCode: number;

  constructor(exitCode: number) {
    super(`exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether that is an error of the system with one of these codes, such as "ENOENT". */
export function isSystemError(error: unknown, ...codes: string[]): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code !== undefined && codes.includes(code);
}
