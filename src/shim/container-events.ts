import { events, packAny, toTimestamp, type Codec, type Init, type types } from '../wire/index.ts';
import type { Container } from './container.ts';
import type { OutgoingEvent } from './events.ts';
import type { Process } from './process.ts';
import type { ExitRecord } from './record.ts';

/** The events of a container's life, with containerd's topics and payloads. */
export const containerEvents = {
  create(container: Container, rootfs: types.Mount[]): OutgoingEvent {
    const { record } = container;
    return event('/tasks/create', events.TaskCreate, {
      containerId: record.id,
      bundle: record.bundle,
      rootfs,
      io: { ...record.init.stdio },
      checkpoint: record.checkpoint,
      pid: record.init.pid,
    });
  },
  start(container: Container): OutgoingEvent {
    const { id, record } = container;
    return event('/tasks/start', events.TaskStart, { containerId: id, pid: record.init.pid });
  },
  execAdded(container: Container, execId: string): OutgoingEvent {
    return event('/tasks/exec-added', events.TaskExecAdded, { containerId: container.id, execId });
  },
  execStarted(container: Container, exec: Process): OutgoingEvent {
    const { execId, pid } = exec.record;
    const payload = { containerId: container.id, execId, pid };
    return event('/tasks/exec-started', events.TaskExecStarted, payload);
  },
  exit(container: Container, process: Process, exit: ExitRecord): OutgoingEvent {
    const { execId, pid } = process.record;
    return event('/tasks/exit', events.TaskExit, {
      containerId: container.id,
      id: execId === '' ? container.id : execId,
      pid,
      exitStatus: exit.status,
      exitedAt: toTimestamp(BigInt(exit.at)),
    });
  },
  oom(containerId: string): OutgoingEvent {
    return event('/tasks/oom', events.TaskOOM, { containerId });
  },
  paused(container: Container): OutgoingEvent {
    return event('/tasks/paused', events.TaskPaused, { containerId: container.id });
  },
  resumed(container: Container): OutgoingEvent {
    return event('/tasks/resumed', events.TaskResumed, { containerId: container.id });
  },
  checkpointed(container: Container, checkpoint: string): OutgoingEvent {
    const payload = { containerId: container.id, checkpoint };
    return event('/tasks/checkpointed', events.TaskCheckpointed, payload);
  },
  deleted(container: Container): OutgoingEvent {
    const { pid, exit } = container.init.record;
    return event('/tasks/delete', events.TaskDelete, {
      containerId: container.id,
      pid,
      exitStatus: exit?.status ?? 0,
      ...(exit === null ? {} : { exitedAt: toTimestamp(BigInt(exit.at)) }),
    });
  },
};

function event<T>(topic: string, codec: Codec<T>, payload: Init<T>): OutgoingEvent {
  return { topic, payload: packAny(codec, payload) };
}
