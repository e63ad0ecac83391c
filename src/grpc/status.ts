import { status } from '@grpc/grpc-js';

/** gRPC's status codes, by the names that this project uses; the numbers are those of ttRPC too. */
export const Code = {
  Cancelled: status.CANCELLED,
  Unknown: status.UNKNOWN,
  InvalidArgument: status.INVALID_ARGUMENT,
  DeadlineExceeded: status.DEADLINE_EXCEEDED,
  NotFound: status.NOT_FOUND,
  AlreadyExists: status.ALREADY_EXISTS,
  PermissionDenied: status.PERMISSION_DENIED,
  ResourceExhausted: status.RESOURCE_EXHAUSTED,
  FailedPrecondition: status.FAILED_PRECONDITION,
  Aborted: status.ABORTED,
  OutOfRange: status.OUT_OF_RANGE,
  Unimplemented: status.UNIMPLEMENTED,
  Internal: status.INTERNAL,
  Unavailable: status.UNAVAILABLE,
  DataLoss: status.DATA_LOSS,
  Unauthenticated: status.UNAUTHENTICATED,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

/** The code as gRPC writes it, such as "NOT_FOUND". */
export function codeName(code: number): string {
  return status[code] ?? `CODE_${code}`;
}

/**
 * A call's failure. Whoever serves a call throws one to choose the status that the caller gets; a client's call rejects with one.
 * The message says what was tried, on what, what happened and what to do.
 *
 * @example throw new RpcError(Code.NotFound, `no container "${id}": list them with "berthctl ps -a"`);
 */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Whether that is an RpcError; with codes: whether it has one of these. */
export function isRpcError(error: unknown, ...codes: Code[]): error is RpcError {
  return error instanceof RpcError && (codes.length === 0 || codes.includes(error.code));
}

/**
 * The RpcError for whatever was thrown: itself, one with the code and message of another error that has a numeric `code` (as
 * those of ttRPC and of grpc-js do), else INTERNAL.
 */
export function toRpcError(error: unknown): RpcError {
  if (error instanceof RpcError) return error;
  if (!(error instanceof Error)) return new RpcError(Code.Internal, String(error));
  const { code } = error as { code?: unknown };
  if (typeof code !== 'number' || status[code] === undefined || code === 0) {
    return new RpcError(Code.Internal, error.message, { cause: error });
  }
  const { details } = error as { details?: unknown };
  // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- it is one: looked up above
  return new RpcError(code, typeof details === 'string' ? details : error.message, { cause: error });
}
