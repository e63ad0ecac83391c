import { randomBytes } from 'node:crypto';
import { Code, RpcError } from '../../grpc/index.ts';

const idBytes = 32;

/** A new id: 64 hexadecimal digits. */
export function newId(): string {
  return randomBytes(idBytes).toString('hex');
}

/**
 * The one record that an id, or the beginning of one, means; undefined when there is none.
 * @throws {RpcError} INVALID_ARGUMENT for an empty id, or one that several records begin with
 */
export function findById<T extends { readonly id: string }>(
  records: { get(id: string): T | undefined; values(): T[] },
  id: string,
  what: string,
): T | undefined {
  if (id === '') throw new RpcError(Code.InvalidArgument, `the ${what}'s id is empty`);
  const exact = records.get(id);
  if (exact !== undefined || !/^[0-9a-f]{1,63}$/.test(id)) return exact;
  const [found, another] = records.values().filter((record) => record.id.startsWith(id));
  if (another !== undefined) {
    throw new RpcError(
      Code.InvalidArgument,
      `more than one ${what} has an id that begins with "${id}": give more of it`,
    );
  }
  return found;
}
