import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { NativeAddon } from '../linux/index.ts';
import { Client, Code, TtrpcError } from '../ttrpc/index.ts';
import { namespaceKey, sandboxV1, taskV3, type task } from '../wire/index.ts';
import { DescriptorTransport } from './descriptor-transport.ts';
import type { Reactor } from './reactor.ts';

const sigkill = 9;
/** A shim that works answers at once; it may have to wait for a process to die. Its manager waits no longer than some seconds. */
const callTimeoutMs = 3000;
const notThere = [Code.NotFound, Code.FailedPrecondition];

export interface Farewell {
  /** The shim's answer, if it removed the container. */
  response: task.DeleteResponse | undefined;
  /** The shim still listens but does not answer: its pid. */
  hungPid: number;
}

/**
 * Asks a shim that its manager has given up, but that lives, to end and forget the container (and its sandbox), and to go if that
 * was its last. Without this such a shim would stay for ever.
 */
export async function askShimToLetGo(
  id: string,
  namespace: string,
  bundle: string,
  native: NativeAddon,
  reactor: Reactor,
): Promise<Farewell | undefined> {
  const fd = connect(bundle, native);
  if (fd < 0) return undefined;
  const { pid } = native.peerCredentials(fd);
  const client = new Client(new DescriptorTransport(fd, native, reactor));
  let answers = false;
  const options = { timeoutMs: callTimeoutMs, metadata: { [namespaceKey]: namespace } };
  try {
    await unless(notThere, () => client.call(taskV3, 'Kill', { id, signal: sigkill, all: true }, options));
    answers = true;
    await unless(notThere, () => client.call(taskV3, 'Wait', { id }, options));
    const response = await unless(Code.NotFound, () => client.call(taskV3, 'Delete', { id }, options));
    await unless(notThere, () => client.call(sandboxV1, 'ShutdownSandbox', { sandboxId: id }, options));
    await unless(Code.Unavailable, () => client.call(taskV3, 'Shutdown', { id }, options));
    return { response, hungPid: 0 };
  } catch (error) {
    const isLate = error instanceof TtrpcError && error.code === Code.DeadlineExceeded;
    return { response: undefined, hungPid: isLate && !answers ? pid : 0 };
  } finally {
    client.close();
  }
}

function connect(bundle: string, native: NativeAddon): number {
  try {
    return native.connectUnix(
      readFileSync(join(bundle, 'address'), 'utf8')
        .trim()
        .replace(/^unix:\/\//, ''),
    );
  } catch {
    return -1;
  }
}

async function unless<T>(codes: Code | Code[], call: () => Promise<T>): Promise<T | undefined> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof TtrpcError && [codes].flat().includes(error.code)) return undefined;
    throw error;
  }
}
