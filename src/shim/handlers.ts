import { RuntimeError } from '../oci/index.ts';
import { Code, TtrpcError, type CallContext } from '../ttrpc/index.ts';
import type { Activity } from './activity.ts';

type Handler<Request, Response> = (request: Request, context: CallContext) => Response | Promise<Response>;
type Wrapped<Request, Response> = (request: Request, context: CallContext) => Promise<Response>;

/** Gives the failures of a call that only waits the status that containerd's clients expect. */
export function waiting<Request, Response>(handler: Handler<Request, Response>): Wrapped<Request, Response> {
  return async (request, context) => {
    try {
      return await handler(request, context);
    } catch (error) {
      throw toStatus(error, context);
    }
  };
}

/**
 * The same for calls that do something. They count as activity until they have ended, whether or not their caller is still there,
 * so that the program image is not replaced in the middle of one.
 */
export function doing(
  activity: Activity,
): <Request, Response>(handler: Handler<Request, Response>) => Wrapped<Request, Response> {
  return (handler) => {
    const wrapped = waiting(handler);
    return (request, context) => activity.track(wrapped(request, context));
  };
}

const runtimeCodes = {
  missing: Code.FailedPrecondition,
  timeout: Code.DeadlineExceeded,
  'not-found': Code.NotFound,
  'not-running': Code.FailedPrecondition,
  exists: Code.AlreadyExists,
  failed: Code.Unknown,
} as const;

function toStatus(error: unknown, { cancelled }: CallContext): unknown {
  if (error instanceof RuntimeError) return new TtrpcError(runtimeCodes[error.reason], error.message, { cause: error });
  if (error instanceof TtrpcError || cancelled === undefined) return error;
  return new TtrpcError(Code.Cancelled, 'the call was given up by its caller', { cause: error });
}
