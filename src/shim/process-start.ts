import type { ProcessStdio } from '../oci/index.ts';
import type { Container } from './container.ts';
import type { ShimContext } from './context.ts';
import type { Process } from './process.ts';

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
  const stopKeeping = exits.expect();
  try {
    const prepared = await stdio.prepare(process.record.stdio, consoleSocketName(context), owner);
    let pid = 0;
    try {
      pid = await run(prepared.forRuntime);
      await prepared.connect(process.record);
      process.watchLogger(exits);
      process.attachPid(pid, exits);
    } catch (error) {
      prepared.abandon();
      if (pid !== 0) native.kill(pid, sigkill);
      await process.closeStdio();
      throw error;
    }
  } finally {
    stopKeeping();
  }
}

/** Short, and unique in the socket folder. */
function consoleSocketName({ record, reactor }: ShimContext): string {
  const shim = record.socketPath.split('/').pop() ?? '';
  return `${shim.slice(0, 24)}-${reactor.nextId()}`;
}
