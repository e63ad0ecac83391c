import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Code, isRpcError } from '../../grpc/index.ts';
import { processes } from '../../wire/index.ts';
import {
  type ContainerRecord,
  type ContainerRecords,
  type Containers,
  type ContainerStop,
  isAlive,
  type PodShims,
  type Sandboxes,
  type SandboxRecord,
  type SandboxRecords,
} from '../pods/index.ts';
import type { PodShim, Shims } from '../tasks/index.ts';

/** A shim that has not answered by then is tried again without anybody waiting for it. */
const firstConnectMs = 2000;
/** How many shims are met at once: each that sleeps has to wake for it, and all together would leave no processor to serve with. */
const meetingLanes = 4;
/** A shim that takes longer does not hold up those after it. */
const slowMeetingMs = 250;
const laterConnectMs = 10_000;
/** A shim that hangs for so long is given up: it is killed, and its containers with it. */
const hungMs = 120_000;

export interface RecoveryOptions {
  readonly sandboxes: Sandboxes;
  readonly sandboxRecords: SandboxRecords;
  readonly containers: Containers;
  readonly containerRecords: ContainerRecords;
  readonly stop: ContainerStop;
  readonly shims: PodShims;
  readonly starter: Shims;
  readonly log: Logger;
}

/**
 * What a daemon does when it starts with pods of an earlier one: meets their shims again, all at once; learns what has become of
 * containers whose start was cut off; and finishes or undoes what was begun. One shim that is dead or hangs delays nobody.
 */
export class Recovery {
  readonly #o: RecoveryOptions;
  /** Sandboxes whose shims did not answer in time. */
  readonly #hung = new Set<string>();
  /** Pods whose shims are met when the daemon serves already. */
  readonly #later: SandboxRecord[] = [];
  /** Meetings that somebody waits for. */
  #urgent: Promise<unknown> = Promise.resolve();
  /** By sandbox: tells that its shim is here, or that it is known to be gone. */
  readonly #meetings = new Map<string, () => void>();
  #closed = false;

  constructor(options: RecoveryOptions) {
    this.#o = options;
  }

  /**
   * Resolves when the daemon can serve: what a start that was cut off has come to is known, or its shim takes too long. Shims of other pods are met meanwhile
   * and later; that wakes them, and calls for those pods wait for it.
   */
  async begin(): Promise<void> {
    const { sandboxRecords, containerRecords, shims } = this.#o;
    const uncertain = new Set(
      containerRecords
        .list()
        .filter(({ state }) => state === 'starting')
        .map(({ sandboxId }) => sandboxId),
    );
    const urgent: SandboxRecord[] = [];
    for (const record of sandboxRecords.list()) {
      if (record.state === 'creating' || record.shim === null) continue;
      const { promise, resolve } = Promise.withResolvers<undefined>();
      this.#meetings.set(record.id, () => resolve(undefined));
      shims.expect(record.id, promise, () => this.#hurry(record));
      if (uncertain.has(record.id)) urgent.push(record);
      else this.#later.push(record);
    }
    this.#urgent = Promise.all(urgent.map((record) => this.#meet(record)));
    await Promise.race([this.#urgent, sleep(firstConnectMs, undefined, { ref: false })]);
  }

  /** Meets the other shims and takes up what was cut off. Resolves when everything is done; nobody needs to wait for it. */
  async finish(): Promise<void> {
    const lanes = Array.from({ length: meetingLanes }, () => this.#meetOthers());
    await Promise.all((await Promise.all(lanes)).flat());
    await this.#urgent;
    const { containerRecords, sandboxRecords, stop } = this.#o;
    const containers = containerRecords.list().map((record) => this.#finishContainer(record));
    const stops = containerRecords
      .list()
      .filter((record) => record.stop !== null && isAlive(record) && !this.#hung.has(record.sandboxId))
      .map(({ id }) => this.#quietly('stop a container', id, () => stop.resume(id)));
    await Promise.all([...containers, ...stops]);
    await Promise.all(sandboxRecords.list().map((record) => this.#finishSandbox(record)));
  }

  /** Stops trying to reach shims that hang. */
  close(): void {
    this.#closed = true;
  }

  async #meet({ id }: SandboxRecord): Promise<void> {
    const record = this.#o.sandboxRecords.get(id);
    if (record === undefined || record.shim === null) {
      // It was stopped, or is gone, since the daemon serves.
      this.#meetings.get(id)?.();
      return;
    }
    try {
      await this.#adopt(record, await this.#o.starter.connect(record.shim, firstConnectMs));
    } catch (error) {
      if (isRpcError(error, Code.DeadlineExceeded)) {
        this.#o.log.warn({ sandbox: record.id }, 'the shim of a pod hangs; everybody else is served meanwhile');
        this.#hung.add(record.id);
        void this.#keepTrying(record.id);
        return;
      }
      this.#o.log.warn({ sandbox: record.id, err: error }, 'the shim of a pod is gone');
      await this.#giveUp(record.id);
    }
  }

  /** Somebody waits for this one: it is met before the others. */
  #hurry(record: SandboxRecord): void {
    const at = this.#later.indexOf(record);
    if (at < 0) return;
    this.#later.splice(at, 1);
    this.#urgent = Promise.all([this.#urgent, this.#meet(record)]);
  }

  /** Meets one after the other, without waiting long for one that is slow; gives the meetings, which may go on. */
  async #meetOthers(): Promise<Promise<void>[]> {
    const meetings: Promise<void>[] = [];
    for (let record = this.#later.shift(); record !== undefined; record = this.#later.shift()) {
      const meeting = this.#meet(record);
      meetings.push(meeting);
      await Promise.race([meeting, sleep(slowMeetingMs)]);
    }
    return meetings;
  }

  async #giveUp(id: string): Promise<void> {
    await this.#quietly('clean up after a shim', id, () => this.#o.sandboxes.shimLost(id));
    this.#meetings.get(id)?.();
  }

  async #adopt(record: SandboxRecord, shim: PodShim): Promise<void> {
    this.#o.shims.add(record.id, shim);
    if (record.state === 'ready') this.#o.shims.watchSandbox(record.id);
    const containers = this.#o.containerRecords.ofSandbox(record.id);
    await Promise.all(
      containers
        .filter(isAlive)
        .map((one) => this.#quietly('learn about a container', one.id, () => this.#learn(one, shim))),
    );
    this.#meetings.get(record.id)?.();
  }

  /** What has become of a container that was started, or nearly, when the old daemon died. */
  async #learn(record: ContainerRecord, shim: PodShim): Promise<void> {
    const { id } = record;
    const found = await shim.state(id).catch((error: unknown) => {
      if (isRpcError(error, Code.NotFound)) return undefined;
      throw error;
    });
    const latest = this.#o.containerRecords.get(id);
    // Its end may have been told in between.
    if (latest === undefined || !isAlive(latest)) return;
    if (record.state === 'starting' && found?.status !== processes.Status.RUNNING) {
      // A start that nobody was told of is undone. One that was so quick that it has ended is told by its exit event.
      if (found?.status === processes.Status.STOPPED) return;
      await this.#o.containers.undoStart(id, shim);
      return;
    }
    if (found === undefined) {
      this.#o.containers.vanished(id);
      return;
    }
    if (found.status === processes.Status.STOPPED) {
      // Our own shim keeps the exit event until we take it; others have told nobody.
      if (!shim.info.ours) this.#o.containers.hasEnded(id, await shim.wait(id));
      return;
    }
    this.#o.containers.found(id, found.pid);
  }

  async #keepTrying(id: string): Promise<void> {
    const deadline = Date.now() + hungMs;
    while (!this.#closed) {
      const record = this.#o.sandboxRecords.get(id);
      if (record === undefined || record.shim === null) return;
      try {
        const shim = await this.#o.starter.connect(record.shim, laterConnectMs);
        this.#hung.delete(id);
        await this.#adopt(record, shim);
        this.#o.log.info({ sandbox: id }, 'the shim of a pod answers again');
        await this.#finishPod(id);
        return;
      } catch (error) {
        if (isRpcError(error, Code.DeadlineExceeded) && Date.now() < deadline) continue;
        this.#o.log.error({ sandbox: id, err: error }, 'the shim of a pod is given up');
        await this.#giveUp(id);
        return;
      }
    }
  }

  async #finishPod(sandboxId: string): Promise<void> {
    for (const record of this.#o.containerRecords.ofSandbox(sandboxId)) {
      await this.#finishContainer(record);
      if (record.stop !== null)
        await this.#quietly('stop a container', record.id, () => this.#o.stop.resume(record.id));
    }
    const record = this.#o.sandboxRecords.get(sandboxId);
    if (record !== undefined) await this.#finishSandbox(record);
  }

  async #finishContainer(record: ContainerRecord): Promise<void> {
    const { id, state, sandboxId } = record;
    if (this.#hung.has(sandboxId)) return;
    if (state === 'creating' || state === 'removing') {
      await this.#quietly('remove a container', id, () => this.#o.containers.discard(id));
    } else if (state === 'exited' && record.hasTask) {
      await this.#quietly('delete a task', id, () => this.#o.containers.releaseTask(id));
    }
  }

  async #finishSandbox({ id, state, stopping }: SandboxRecord): Promise<void> {
    if (this.#hung.has(id)) return;
    if (state === 'creating') await this.#quietly('undo a pod', id, () => this.#o.sandboxes.discard(id));
    else if (state === 'removing') await this.#quietly('remove a pod', id, () => this.#o.sandboxes.remove(id));
    else if (stopping) await this.#quietly('stop a pod', id, () => this.#o.sandboxes.stop(id));
  }

  /** One that cannot be finished now must not keep the others from it; its record stays, so the next start tries again. */
  async #quietly(what: string, id: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#o.log.error({ id, err: error }, `recovery: cannot ${what}`);
    }
  }
}
