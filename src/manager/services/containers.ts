import { type CallContext, Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import type { containerRecords } from '../../wire/index.ts';
import { type Init, ociType, packJson, toTimestamp } from '../../wire/index.ts';
import { type FieldOf, mapField, parseFilters } from './filter.ts';
import { isAboutCri, namespaceKey } from './namespace.ts';
import type { ContainerDirectory, ContainerView } from './views.ts';

/** containerd.services.containers.v1: what CRI has made, to be looked at. */
export function containersService(directory: ContainerDirectory): ServiceHandlers<typeof containerRecords.Containers> {
  const wanted = (filters: readonly string[], context: CallContext): ContainerView[] => {
    const fits = parseFilters(filters);
    return isAboutCri(context) ? directory.list().filter((container) => fits(fieldsOf(container))) : [];
  };
  const find = (id: string, context: CallContext): ContainerView => {
    const found = isAboutCri(context) ? directory.find(id) : undefined;
    if (found !== undefined) return found;
    throw new RpcError(
      Code.NotFound,
      `container "${id}" in namespace "${context.metadata(namespaceKey) ?? ''}": not found`,
    );
  };
  const record = async (container: ContainerView) => recordOf(container, await directory.spec(container.id));
  const ownedByCri = (id: string, context: CallContext): never => {
    const { sandboxId } = find(id, context);
    throw new RpcError(
      Code.FailedPrecondition,
      `container ${id} belongs to pod ${sandboxId}, which CRI manages: use CRI for it (berthctl rm, berthctl update)`,
    );
  };
  return {
    List: async ({ filters }, context) => ({ containers: await Promise.all(wanted(filters, context).map(record)) }),
    Get: async ({ id }, context) => ({ container: await record(find(id, context)) }),
    async *ListStream({ filters }, context) {
      for (const container of wanted(filters, context)) yield { container: await record(container) };
    },
    Create: () => {
      throw new RpcError(
        Code.Unimplemented,
        'berthd makes containers in pods alone, by CRI: use "berthctl run", or crictl',
      );
    },
    Update: ({ container }, context) => ownedByCri(container?.id ?? '', context),
    Delete: ({ id }, context) => ownedByCri(id, context),
  };
}

function fieldsOf(container: ContainerView): FieldOf {
  return ([name, ...rest]) => {
    switch (name) {
      case 'id':
        return container.id;
      case 'image':
        return container.image || undefined;
      case 'runtime':
        return rest[0] === 'name' ? container.runtime : undefined;
      case 'labels':
        return mapField(container.labels, rest);
      default:
        return undefined;
    }
  };
}

function recordOf(container: ContainerView, spec: unknown): Init<containerRecords.Container> {
  return {
    id: container.id,
    labels: container.labels,
    image: container.image,
    runtime: { name: container.runtime },
    ...(spec !== undefined && { spec: packJson(ociType.spec, spec) }),
    createdAt: toTimestamp(container.createdAt),
    updatedAt: toTimestamp(container.updatedAt),
    sandbox: container.sandboxId,
  };
}
