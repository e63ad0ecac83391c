import { Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import type { namespaces } from '../../wire/index.ts';
import { parseFilters } from './filter.ts';
import { criNamespace } from './views.ts';

/** containerd.services.namespaces.v1: there is one, and it stays as it is. */
export function namespacesService(): ServiceHandlers<typeof namespaces.Namespaces> {
  const refuse = () => {
    throw new RpcError(
      Code.Unimplemented,
      `berthd has one namespace, "${criNamespace}": it cannot be changed, and no other be made`,
    );
  };
  return {
    List: ({ filter }) => {
      const wanted = parseFilters(filter === '' ? [] : [filter]);
      const isWanted = wanted(([name]) => (name === 'name' ? criNamespace : undefined));
      return { namespaces: isWanted ? [{ name: criNamespace }] : [] };
    },
    Get: ({ name }) => {
      if (name === criNamespace) return { namespace: { name } };
      throw new RpcError(Code.NotFound, `there is no namespace "${name}": the only one is "${criNamespace}"`);
    },
    Create: refuse,
    Update: refuse,
    Delete: refuse,
  };
}
