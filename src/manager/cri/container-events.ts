import { cri, type Init } from '../../wire/index.ts';
import type { PodEvents, PodEventType } from '../pods/index.ts';

const types: Readonly<Record<PodEventType, cri.ContainerEventType>> = {
  created: cri.ContainerEventType.CONTAINER_CREATED_EVENT,
  started: cri.ContainerEventType.CONTAINER_STARTED_EVENT,
  stopped: cri.ContainerEventType.CONTAINER_STOPPED_EVENT,
  deleted: cri.ContainerEventType.CONTAINER_DELETED_EVENT,
};

type Details = Pick<Init<cri.ContainerEventResponse>, 'podSandboxStatus' | 'containersStatuses'>;

/** The stream of GetContainerEvents: what happens from now on, each with the pod as it is when it is told. */
export async function* containerEvents(
  events: PodEvents,
  signal: AbortSignal,
  detailsOf: (sandboxId: string) => Details,
): AsyncGenerator<Init<cri.ContainerEventResponse>, void, undefined> {
  for await (const { type, id, sandboxId, at } of events.subscribe(signal)) {
    yield { containerId: id, containerEventType: types[type], createdAt: at, ...detailsOf(sandboxId) };
  }
}
