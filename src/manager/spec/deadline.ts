import { Code, RpcError } from '../../grpc/index.ts';

const hostPathMilliseconds = 10_000;

/**
 * Waits for what is done to a path of the host, which may be on a file system whose server is away.
 * @throws {RpcError} DEADLINE_EXCEEDED after ten seconds
 */
export async function withinDeadline<T>(path: string, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const why = `${path} of the host has not answered for ${hostPathMilliseconds} ms: is a network file system away?`;
    reject(new RpcError(Code.DeadlineExceeded, why));
  }, hostPathMilliseconds);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}
