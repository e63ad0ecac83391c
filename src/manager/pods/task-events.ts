import type { Logger } from 'pino';
import { readOomKills } from '../../linux/index.ts';
import { events, fromTimestamp, holds, packAny, type protobuf, toTimestamp, nowNanoseconds } from '../../wire/index.ts';
import { aboutTasks, type EventJournal } from '../events/index.ts';
import type { Store } from '../store/index.ts';
import type { ShimEvent } from '../tasks/index.ts';
import { type ContainerRecord, isAlive, untold } from './container-record.ts';
import type { ContainerRecords } from './container-records.ts';
import type { PodEvents } from './pod-events.ts';
import type { SandboxRecords } from './sandbox-records.ts';

/** containerd's namespace of all that CRI makes. */
const criNamespace = 'k8s.io';
/** How long the last events of a container are waited for before we tell them ourselves. */
const settleMs = 2000;
const settlePollMs = 10;
/** The exit code of what SIGKILL has ended. */
const killedStatus = 137;
/** The same for a start that is undone, of which there may be nothing to tell. */
const attemptMs = 500;

export interface Exit {
  readonly exitStatus: number;
  /** Nanoseconds since the epoch. */
  readonly exitedAt: bigint;
}

export interface TaskEventsOptions {
  readonly store: Store;
  readonly containers: ContainerRecords;
  readonly sandboxes: SandboxRecords;
  readonly journal: EventJournal;
  readonly events: PodEvents;
  /** Resolves when the output of a container that has ended is in its log, soon at the latest. */
  readonly outputWritten: (sandboxId: string, containerId: string) => Promise<void>;
  readonly log: Logger;
}

/**
 * What shims tell, into the records and the journal, in one step: an event that is acknowledged is in both, and one that comes again
 * is in neither twice.
 */
export class TaskEvents {
  readonly #o: TaskEventsOptions;
  #whenEnded: (containerId: string) => void = () => undefined;
  #whenSandboxEnded: (sandboxId: string) => void = () => undefined;

  constructor(options: TaskEventsOptions) {
    this.#o = options;
  }

  /** What is to be done when a container has ended, or the process that stands for a sandbox has. */
  onEnded(container: (id: string) => void, sandbox: (id: string) => void): void {
    this.#whenEnded = container;
    this.#whenSandboxEnded = sandbox;
  }

  /** Takes one event. What it throws means: not taken, send it again. */
  async take({ namespace, topic, at, event, sequence }: ShimEvent): Promise<void> {
    const decoded = decode(event);
    if (decoded === undefined) {
      // Refusing it would have it sent again for ever, and what comes after it never.
      this.#o.log.warn({ topic, type: event.typeUrl }, 'a shim tells of something unknown; it is passed over');
      return;
    }
    const { containerId } = decoded;
    const ending = decoded.kind === 'exit' ? this.#o.containers.get(containerId) : undefined;
    if (ending !== undefined) await this.#o.outputWritten(ending.sandboxId, containerId);
    const record = this.#o.containers.get(containerId);
    const sandboxId = record?.sandboxId ?? containerId;
    // A container that is not there any more was told of to its end.
    if (record === undefined && this.#o.sandboxes.get(sandboxId) === undefined) return;
    if (record !== undefined && (isToldAlready(record, decoded) || isOfAttemptBefore(record, decoded, at))) return;
    const isNew = this.#o.store.transaction(() => {
      const origin = sequence === undefined ? undefined : { sandboxId, sequence };
      const number = this.#o.journal.append({ at, namespace, topic, event, containerId, sandboxId }, origin);
      if (number === undefined) return false;
      if (record !== undefined) this.#o.containers.put(withEvent(record, decoded, at));
      return true;
    });
    if (isNew && decoded.kind === 'exit') this.#tellEnd(record, sandboxId);
  }

  /** The container's shim is gone, and with it whoever could tell: its end is told by us, if it was not. */
  endedWithShim(id: string, exit: Exit): void {
    const record = this.#o.containers.get(id);
    if (record === undefined || (!isAlive(record) && !record.hasTask)) return;
    const wasAlive = isAlive(record);
    this.#o.store.transaction(() => {
      this.#tellRest(record, exit);
      const latest = this.#o.containers.get(id) ?? record;
      this.#o.containers.put({ ...latest, ...(wasAlive && endOf(latest, exit)), hasTask: false });
    });
    if (wasAlive) this.#tellEnd(record, record.sandboxId);
  }

  /** The end of a container whose shim had nobody to tell it to, as it was learned by asking. */
  learned(id: string, exit: Exit): void {
    const record = this.#o.containers.get(id);
    if (record === undefined || !isAlive(record)) return;
    const { sandboxId, pid, told } = record;
    const { exitStatus, exitedAt } = exit;
    const event = packAny(events.TaskExit, { containerId: id, id, pid, exitStatus, exitedAt: toTimestamp(exitedAt) });
    this.#o.store.transaction(() => {
      const topic = '/tasks/exit';
      this.#o.journal.append({ at: exitedAt, namespace: criNamespace, topic, event, containerId: id, sandboxId });
      this.#o.containers.put({ ...record, told: { ...told, exit: true }, ...endWithReason(record, exit) });
    });
    this.#tellEnd(record, sandboxId);
  }

  /** A start that was undone: its end is told if its beginning was, and a new start tells everything anew. */
  async forgetAttempt(id: string): Promise<void> {
    await this.#until(id, ({ told }) => told.delete, attemptMs);
    const record = this.#o.containers.get(id);
    if (record === undefined) return;
    this.#o.store.transaction(() => {
      this.#tellRest(record, { exitStatus: record.exitCode, exitedAt: nowNanoseconds() });
      this.#o.containers.update(id, { told: untold, undoneAt: nowNanoseconds() });
    });
  }

  /** Resolves when the journal has all that will ever be told of a container that has no task any more. */
  async settle(id: string): Promise<void> {
    const isSettled = ({ told }: ContainerRecord) => !told.create || told.delete;
    await this.#until(id, isSettled, settleMs);
    const record = this.#o.containers.get(id);
    if (record === undefined || isSettled(record)) return;
    this.#o.log.warn({ container: id }, 'the shim has not told of the end of a container; we tell it');
    const exit = { exitStatus: record.exitCode, exitedAt: record.finishedAt };
    this.#o.store.transaction(() => this.#tellRest(record, exit));
  }

  async #until(id: string, holds: (record: ContainerRecord) => boolean, timeoutMs: number): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const record = this.#o.containers.get(id);
      if (record === undefined || holds(record) || Date.now() >= deadline) return;
      await new Promise((next) => setTimeout(next, settlePollMs));
    }
  }

  #tellEnd(record: ContainerRecord | undefined, sandboxId: string): void {
    if (record === undefined) {
      this.#whenSandboxEnded(sandboxId);
      return;
    }
    this.#o.events.tell('stopped', sandboxId, record.id);
    this.#whenEnded(record.id);
  }

  /** Exit and deletion, as far as they were not told. */
  #tellRest(record: ContainerRecord, { exitStatus, exitedAt }: Exit): void {
    const { id, sandboxId, pid, told } = record;
    if (!told.create) return;
    const tell = (topic: string, event: protobuf.Any) =>
      this.#o.journal.append({ at: exitedAt, namespace: criNamespace, topic, event, containerId: id, sandboxId });
    const exit = { containerId: id, id, pid, exitStatus, exitedAt: toTimestamp(exitedAt) };
    if (!told.exit) tell('/tasks/exit', packAny(events.TaskExit, exit));
    if (!told.delete) tell('/tasks/delete', packAny(events.TaskDelete, { ...exit, id: '' }));
    this.#o.containers.update(id, { told: { create: true, exit: true, delete: true } });
  }
}

interface Decoded {
  readonly containerId: string;
  /** Of the container's first process; what happens to an exec is `other`. */
  readonly kind: 'create' | 'start' | 'exit' | 'delete' | 'oom' | 'other';
  /** Of what has ended; 0 where it does not matter. */
  readonly pid: number;
  readonly exit: Exit | undefined;
}

function decode(event: protobuf.Any): Decoded | undefined {
  const codec = aboutTasks.find((one) => holds(event, one));
  if (codec === undefined) return undefined;
  let message: { containerId: string };
  try {
    message = codec.decode(event.value);
  } catch {
    return undefined;
  }
  const { containerId } = message;
  if (codec.typeName === events.TaskExit.typeName) {
    const { id, pid, exitStatus, exitedAt } = message as events.TaskExit;
    const exit = { exitStatus, exitedAt: fromTimestamp(exitedAt) ?? 0n };
    return { containerId, kind: id === containerId ? 'exit' : 'other', pid, exit };
  }
  const kind = kindOf(codec.typeName, message);
  return { containerId, kind, pid: 0, exit: undefined };
}

function kindOf(typeName: string, message: object): Decoded['kind'] {
  if (typeName === events.TaskCreate.typeName) return 'create';
  if (typeName === events.TaskStart.typeName) return 'start';
  if (typeName === events.TaskOOM.typeName) return 'oom';
  // The id of an exec that was deleted; shims leave it out, or repeat the container's, for the container itself.
  const { id, containerId } = message as events.TaskDelete;
  if (typeName === events.TaskDelete.typeName) return id === '' || id === containerId ? 'delete' : 'other';
  return 'other';
}

function isToldAlready({ told }: ContainerRecord, { kind }: Decoded): boolean {
  return kind === 'create' || kind === 'exit' || kind === 'delete' ? told[kind] : false;
}

/** Of a task that an earlier, undone start has made: by its pid where that is known, else by its time. */
function isOfAttemptBefore(record: ContainerRecord, { kind, pid }: Decoded, at: bigint): boolean {
  if (kind === 'exit' && record.pid !== 0 && pid !== 0) return pid !== record.pid;
  return at <= record.undoneAt;
}

function withEvent(record: ContainerRecord, { kind, exit }: Decoded, at: bigint): ContainerRecord {
  if (kind === 'oom') return killedForMemory(record);
  if (kind === 'start') return record.startedAt > 0n || !isAlive(record) ? record : { ...record, startedAt: at };
  if (kind === 'other') return record;
  const told = { ...record.told, [kind]: true };
  if (exit === undefined || !isAlive(record)) return { ...record, told };
  return { ...record, told, ...endWithReason(record, exit) };
}

/** The cgroup is there until the task is deleted. Another shim than ours may tell of a kill for memory after the end, or not at all. */
function endWithReason(record: ContainerRecord, exit: Exit): Partial<ContainerRecord> {
  const wasKilled = exit.exitStatus === killedStatus && (readOomKills(record.cgroups) ?? 0) > 0;
  const oomKilled = record.oomKilled || wasKilled;
  return { oomKilled, ...endOf({ ...record, oomKilled }, exit) };
}

function killedForMemory(record: ContainerRecord): ContainerRecord {
  const isLate = record.state === 'exited' && record.exitCode === killedStatus;
  return { ...record, oomKilled: true, ...(isLate && { reason: 'OOMKilled' }) };
}

/** What a record says of a container that has ended. */
export function endOf(record: ContainerRecord, { exitStatus, exitedAt }: Exit): Partial<ContainerRecord> {
  return {
    state: 'exited',
    pid: 0,
    exitCode: exitStatus,
    finishedAt: exitedAt,
    reason: record.oomKilled ? 'OOMKilled' : exitStatus === 0 ? 'Completed' : 'Error',
  };
}
