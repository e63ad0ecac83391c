import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Code, isRpcError } from '../../grpc/index.ts';
import { processes } from '../../wire/index.ts';
import {
  type ContainerRecord,
  type ContainerRecords,
  type Containers,
  type ContainerStop,
  type ContainerTask,
  isAlive,
  type KeyedLock,
  type PodShims,
  type Sandboxes,
  type SandboxRecord,
  type SandboxRecords,
} from '../pods/index.ts';
import { isRunning, type PodShim, type Shims } from '../tasks/index.ts';
import { Meetings } from './meetings.ts';

/** A shim that has not answered by then is tried again without anybody waiting for it. */
const firstConnectMs = 2000;
const laterConnectMs = 10_000;
const againMs = 500;
/** A shim that hangs for so long is given up: it is killed, and its containers with it. */
const hungMs = 120_000;

export interface RecoveryOptions {
  readonly sandboxes: Sandboxes;
  readonly sandboxRecords: SandboxRecords;
  readonly containers: Containers;
  readonly containerRecords: ContainerRecords;
  readonly task: ContainerTask;
  readonly stop: ContainerStop;
  readonly locks: KeyedLock;
  readonly shims: PodShims;
  readonly starter: Shims;
  readonly log: Logger;
}

/**
 * What a daemon does when it starts with pods of an earlier one: meets their shims again, learns what has become of containers whose
 * start was cut off, and finishes or undoes what was begun, each pod by itself: one that is dead or hangs delays nobody. The same
 * when the connection to a shim is lost later.
 */
export class Recovery {
  readonly #o: RecoveryOptions;
  readonly #meetings: Meetings;
  /** Sandboxes and containers that an earlier daemon was making; those that this one makes are in the same state meanwhile. */
  readonly #cutOff = new Set<string>();
  #closed = false;

  constructor(options: RecoveryOptions) {
    this.#o = options;
    this.#meetings = new Meetings(options.shims, (id) => this.#meet(id));
  }

  /**
   * Before anybody is served. Resolves when what starts that were cut off have come to is known, or their shims take too long; the
   * shims of other pods are met later, and calls for those pods wait for it.
   */
  async begin(): Promise<void> {
    const { sandboxRecords, containerRecords } = this.#o;
    const records = [...sandboxRecords.list(), ...containerRecords.list()];
    for (const { id, state } of records) if (state === 'creating') this.#cutOff.add(id);
    const starting = containerRecords.list().filter(({ state }) => state === 'starting');
    const uncertain = new Set(starting.map(({ sandboxId }) => sandboxId));
    const urgent = sandboxRecords
      .list()
      .filter(({ state, shim }) => state !== 'creating' && shim !== null)
      .map(({ id }) => this.#meetings.expect(id, uncertain.has(id)));
    await Promise.race([Promise.all(urgent), sleep(firstConnectMs, undefined, { ref: false })]);
  }

  /** Meets the other shims and takes up what was cut off. Resolves when everything is done; nobody needs to wait for it. */
  async finish(): Promise<void> {
    const { sandboxRecords } = this.#o;
    const withoutShim = sandboxRecords.list().filter(({ shim }) => shim === null);
    await Promise.all([this.#meetings.all(), ...withoutShim.map(({ id }) => this.#finishPod(id))]);
  }

  /** The connection to a shim is lost for good, or the shim is: which of the two is found out, and done what is to be done. */
  async lost(id: string): Promise<void> {
    const shim = this.#o.sandboxRecords.get(id)?.shim;
    if (this.#closed || !shim) return;
    if (isRunning(shim)) await this.#keepTrying(id);
    else await this.#giveUp(id);
  }

  /** Stops trying to reach shims that hang. */
  close(): void {
    this.#closed = true;
  }

  /** Resolves when the shim is here, or is gone, or hangs; in that case it is tried on. */
  async #meet(id: string): Promise<void> {
    const record = this.#o.sandboxRecords.get(id);
    // It was stopped, or is gone, since the daemon serves.
    if (record === undefined || record.shim === null) {
      this.#meetings.over(id);
      return;
    }
    try {
      await this.#adopt(record, await this.#o.starter.connect(record.shim, firstConnectMs));
    } catch (error) {
      if (isRunning(record.shim)) {
        this.#o.log.warn({ sandbox: id, err: error }, 'the shim of a pod hangs; everybody else is served meanwhile');
        void this.#keepTrying(id);
        return;
      }
      this.#o.log.warn({ sandbox: id, err: error }, 'the shim of a pod is gone');
      await this.#giveUp(id);
      return;
    }
    await this.#finishPod(id);
  }

  async #keepTrying(id: string): Promise<void> {
    const deadline = Date.now() + hungMs;
    while (!this.#closed) {
      const record = this.#o.sandboxRecords.get(id);
      if (record === undefined || record.shim === null) return;
      try {
        await this.#adopt(record, await this.#o.starter.connect(record.shim, laterConnectMs));
        this.#o.log.info({ sandbox: id }, 'the shim of a pod answers again');
        await this.#finishPod(id);
        return;
      } catch (error) {
        if (!isRunning(record.shim) || Date.now() > deadline) {
          this.#o.log.error({ sandbox: id, err: error }, 'the shim of a pod is given up');
          await this.#giveUp(id);
          return;
        }
      }
      await sleep(againMs, undefined, { ref: false });
    }
  }

  async #giveUp(id: string): Promise<void> {
    await this.#quietly('clean up after a shim', id, () => this.#o.sandboxes.shimLost(id));
    this.#meetings.over(id);
    await this.#finishPod(id);
  }

  async #adopt(record: SandboxRecord, shim: PodShim): Promise<void> {
    this.#o.shims.add(record.id, shim);
    if (record.state === 'ready') this.#o.shims.watchSandbox(record.id);
    const alive = this.#o.containerRecords.ofSandbox(record.id).filter(isAlive);
    await Promise.all(
      alive.map((one) => this.#quietly('learn about a container', one.id, () => this.#learn(one, shim))),
    );
    this.#meetings.over(record.id);
  }

  /** What has become of a container that was started, or nearly, when the old daemon died. */
  async #learn(record: ContainerRecord, shim: PodShim): Promise<void> {
    const { id } = record;
    const { task, locks, containerRecords } = this.#o;
    const found = await shim.state(id).catch((error: unknown) => {
      if (isRpcError(error, Code.NotFound)) return undefined;
      // A runtime that hangs in the middle of a creation holds this up: it is asked again, without anybody waiting.
      if (isRpcError(error, Code.DeadlineExceeded) && shim.isOpen) void this.#learnLater(record, shim);
      throw error;
    });
    const latest = containerRecords.get(id);
    // Its end may have been told in between.
    if (latest === undefined || !isAlive(latest)) return;
    if (found?.status === processes.Status.STOPPED) {
      // Our own shim keeps the exit event until we take it; others have told nobody.
      if (!shim.info.ours) task.hasEnded(id, await shim.wait(id));
    } else if (record.state === 'starting' && found?.status !== processes.Status.RUNNING) {
      // A start that nobody was told of is undone.
      await locks.hold(id, () => task.undoStart(id, shim));
    } else if (found === undefined) {
      task.vanished(id);
    } else {
      task.found(id, found.pid);
    }
  }

  async #learnLater(record: ContainerRecord, shim: PodShim): Promise<void> {
    await sleep(againMs, undefined, { ref: false });
    if (this.#closed || !shim.isOpen) return;
    await this.#quietly('learn about a container', record.id, () => this.#learn(record, shim));
  }

  /** Takes up all that was begun in a pod. */
  async #finishPod(sandboxId: string): Promise<void> {
    const containers = this.#o.containerRecords.ofSandbox(sandboxId);
    // A stop takes as long as was granted: nothing else waits for it.
    for (const { id, stop } of containers) {
      if (stop !== null) void this.#quietly('stop a container', id, () => this.#o.stop.resume(id));
    }
    await Promise.all(containers.map((record) => this.#finishContainer(record)));
    const record = this.#o.sandboxRecords.get(sandboxId);
    if (record !== undefined) await this.#finishSandbox(record);
  }

  async #finishContainer({ id, state, hasTask }: ContainerRecord): Promise<void> {
    const { containers } = this.#o;
    if (state === 'removing' || (state === 'creating' && this.#cutOff.has(id))) {
      await this.#quietly('remove a container', id, () => containers.discard(id));
    } else if (state === 'exited' && hasTask) {
      await this.#quietly('delete a task', id, () => containers.releaseTask(id));
    }
  }

  async #finishSandbox({ id, state, stopping }: SandboxRecord): Promise<void> {
    const { sandboxes } = this.#o;
    if (state === 'creating') {
      if (this.#cutOff.has(id)) await this.#quietly('undo a pod', id, () => sandboxes.discard(id));
    } else if (state === 'removing') await this.#quietly('remove a pod', id, () => sandboxes.remove(id));
    else if (stopping) await this.#quietly('stop a pod', id, () => sandboxes.stop(id));
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
