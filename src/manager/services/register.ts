import type { GrpcServer } from '../../grpc/index.ts';
import { berth, containerRecords, eventService, introspection, namespaces, tasks, version } from '../../wire/index.ts';
import { berthDaemonService } from './berth-daemon.ts';
import { berthEventsService } from './berth-events.ts';
import { containersService } from './containers.ts';
import { eventsService } from './events.ts';
import { introspectionService } from './introspection.ts';
import { namespacesService } from './namespaces.ts';
import { tasksService } from './tasks.ts';
import { versionService } from './version.ts';
import type { ContainerDirectory, DaemonFacts, DaemonView, JournalView, TaskDirectory } from './views.ts';

/** What the services stand on. */
export interface ContainerdServices {
  readonly facts: DaemonFacts;
  readonly daemon: DaemonView;
  readonly containers: ContainerDirectory;
  readonly tasks: TaskDirectory;
  readonly journal: JournalView;
}

/** Methods whose calls last as long as their callers like: nobody waits for their end when the daemon stops. */
export const endlessMethods: ReadonlySet<string> = new Set([
  '/containerd.services.events.v1.Events/Subscribe',
  '/containerd.services.tasks.v1.Tasks/Wait',
  '/berth.v1.Events/Subscribe',
  '/runtime.v1.RuntimeService/GetContainerEvents',
]);

/** Serves containerd's services, and berth.v1's Events and Daemon. */
export function registerServices(server: GrpcServer, services: ContainerdServices): void {
  const { facts, daemon, journal } = services;
  server.register(version.Version, versionService(facts.version));
  server.register(introspection.Introspection, introspectionService(facts.uuid));
  server.register(namespaces.Namespaces, namespacesService());
  server.register(containerRecords.Containers, containersService(services.containers));
  server.register(tasks.Tasks, tasksService(services.tasks));
  server.register(eventService.Events, eventsService(journal));
  server.register(berth.Events, berthEventsService(journal));
  server.register(berth.Daemon, berthDaemonService(facts, daemon, journal));
}
