import { shimV1, taskV2, taskV3 } from '../../wire/index.ts';
import type { ShimConnection } from './shim-connection.ts';
import type { ShimInfo } from './shim-info.ts';

/** Asks a shim for its pid, which also tells that it answers. @throws RpcError */
export async function askPid(
  connection: ShimConnection,
  { id, ours, version }: Pick<ShimInfo, 'id' | 'ours' | 'version'>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<number> {
  // Ours tells it before there is a container.
  if (ours) return (await connection.call(shimV1, 'Info', {}, { timeoutMs, signal })).pid;
  return (await connection.call(version === 3 ? taskV3 : taskV2, 'Connect', { id }, { timeoutMs, signal })).shimPid;
}
