/** gRPC's status codes, which ttRPC uses. */
export const Code = {
  Ok: 0,
  Cancelled: 1,
  Unknown: 2,
  InvalidArgument: 3,
  DeadlineExceeded: 4,
  NotFound: 5,
  AlreadyExists: 6,
  PermissionDenied: 7,
  ResourceExhausted: 8,
  FailedPrecondition: 9,
  Aborted: 10,
  OutOfRange: 11,
  Unimplemented: 12,
  Internal: 13,
  Unavailable: 14,
  DataLoss: 15,
  Unauthenticated: 16,
} as const;
export type Code = (typeof Code)[keyof typeof Code];

const names = new Map<number, string>(
  Object.entries(Code).map(([name, code]) => [code, name.replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase()]),
);

/** The code as gRPC writes it, such as "NOT_FOUND"; a number that is none of the codes as "CODE_99". */
export function codeName(code: number): string {
  return names.get(code) ?? `CODE_${code}`;
}

/**
 * A call's failure. A handler throws one to choose the status that its caller gets; a client's call rejects with one.
 *
 * @example throw new TtrpcError(Code.NotFound, `no container ${id}: it was never created, or is deleted`);
 */
export class TtrpcError extends Error {
  override readonly name = 'TtrpcError';
  /** As it came, so possibly a number that has no name. */
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The status for whatever a handler threw: its own if it chose one, else UNKNOWN, as Go's ttRPC does. */
export function toTtrpcError(error: unknown): TtrpcError {
  if (error instanceof TtrpcError) return error;
  return new TtrpcError(Code.Unknown, error instanceof Error ? error.message : String(error), { cause: error });
}
