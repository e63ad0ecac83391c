import type { ProcessStdio } from '../oci/index.ts';
import type { Container } from './container.ts';
import type { ShimContext } from './context.ts';
import type { Process } from './process.ts';
import type { ShimRecord } from './record.ts';

const sigkill = 9;

/**
 * Makes a process with its stdio: prepares it, lets `run` call the runtime, takes the streams and the pid over. When anything
 * fails, what there is of the process and of its stdio is gone. Exits are kept while this goes on, so that a process which has
 * ended before its pid is known is not missed: its exit is in the record then.
 */
export async function connectProcess(
  process: Process,
  { record: { id, bundle, runtime } }: Pick<Container, 'record'>,
  context: ShimContext,
  run: (stdio: ProcessStdio) => Promise<number>,
): Promise<void> {
  const { exits, stdio, native, record } = context;
  const owner = {
    containerId: id,
    bundle,
    socketFolder: record.socketFolder,
    ioUid: runtime.ioUid,
    ioGid: runtime.ioGid,
  };
  const expected = exits.expect();
  try {
    const prepared = await stdio.prepare(process.record.stdio, consoleSocketName(context), owner);
    let pid = 0;
    try {
      pid = await run(prepared.forRuntime);
      await prepared.connect(process.record);
      process.watchLogger(exits);
      process.attachPid(pid, expected);
    } catch (error) {
      prepared.abandon();
      if (pid !== 0) native.kill(pid, sigkill);
      await process.closeStdio();
      throw error;
    }
  } finally {
    expected.end();
  }
}

/** Short, and unique in the socket folder. */
function consoleSocketName({ record, reactor }: ShimContext): string {
  return `${consoleSocketPrefix(record)}${reactor.nextId()}`;
}

/** What the names of a shim's console sockets begin with. */
export function consoleSocketPrefix({ socketPath }: ShimRecord): string {
  return `${(socketPath.split('/').pop() ?? '').slice(0, 24)}-`;
}
