import { type Codec, events, holds, type protobuf } from '../../wire/index.ts';

/** Something that has happened. */
export interface NewEvent {
  /** Nanoseconds since the epoch, by the clock of whoever saw it. */
  readonly at: bigint;
  /** containerd's namespace. */
  readonly namespace: string;
  /** "/tasks/exit" and the like. */
  readonly topic: string;
  /** A message of containerd.events. */
  readonly event: protobuf.Any;
  /** '' for what is of no container. */
  readonly containerId: string;
  /** '' for what is of no pod. */
  readonly sandboxId: string;
}

/** The same with its number, as the journal has it. */
export interface JournalEvent extends NewEvent {
  /** One more than that of the event before, across restarts of the daemon. */
  readonly sequence: bigint;
}

/** What a shim has told, by its own count: told again, it is known by that. */
export interface EventOrigin {
  readonly sandboxId: string;
  /** Grows with each event of the shim; from 1. */
  readonly sequence: number;
}

/** What shims tell of tasks; all of them name their container alike. */
export const aboutTasks: readonly Codec<{ containerId: string }>[] = [
  events.TaskCreate,
  events.TaskStart,
  events.TaskExit,
  events.TaskDelete,
  events.TaskOOM,
  events.TaskExecAdded,
  events.TaskExecStarted,
  events.TaskPaused,
  events.TaskResumed,
  events.TaskCheckpointed,
];

const aboutContainers = [events.ContainerCreate, events.ContainerUpdate, events.ContainerDelete] as const;

/** The container that a message of containerd.events is about; '' for one of another kind, or of none. */
export function containerOf(event: protobuf.Any): string {
  try {
    for (const codec of aboutTasks) if (holds(event, codec)) return codec.decode(event.value).containerId;
    for (const codec of aboutContainers) if (holds(event, codec)) return codec.decode(event.value).id;
  } catch {
    // Whoever sent this does not know its own message: it is about nothing that we know.
  }
  return '';
}
