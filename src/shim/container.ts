import { join } from 'node:path';
import { inspect } from 'node:util';
import {
  containerCgroups,
  diesFrozen,
  killCgroup,
  processesInCgroups,
  readCgroupMetrics,
  thawCgroup,
  type CgroupMetrics,
} from '../linux/index.ts';
import { initPidPath, OciRuntime, type CheckpointOptions } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import { containerEvents } from './container-events.ts';
import type { ShimContext } from './context.ts';
import { Execs } from './execs.ts';
import { killAll } from './kill-all.ts';
import { Deferred, Lock, withinMs } from './lock.ts';
import { connectProcess } from './process-start.ts';
import { Process } from './process.ts';
import { requireState, requireTransition } from './process-state.ts';
import type { ContainerRecord } from './record.ts';
import { unmountRootfs } from './rootfs.ts';

const sigkill = 9;
/** How long processes that were sent SIGKILL may take to be gone before their end is given up as stuck in the kernel. */
const killTimeoutMs = 30_000;

/**
 * A container as its shim sees it: one first process, any number of exec processes, one OCI runtime, one cgroup.
 *
 * Calls of the runtime that act on a container that is there are not given up when their caller goes away: half a start or
 * half an exec could not be told from none. They have the runtime's own deadline.
 */
export class Container {
  readonly record: ContainerRecord;
  readonly init: Process;
  readonly #context: ShimContext;
  readonly execs: Execs;
  readonly #runtime: OciRuntime;
  /** Calls that change the container as a whole go one after the other. */
  readonly #lock = new Lock();
  #pausing = false;
  /** Set while the first process is being started: its end is told after its start. */
  #starting: Deferred<void> | undefined;

  constructor(record: ContainerRecord, context: ShimContext) {
    this.record = record;
    this.#context = context;
    this.init = new Process(record.init, `container "${record.id}"`, context.native, context.reactor);
    this.execs = new Execs(this, context);
    this.#runtime = new OciRuntime(
      {
        binary: record.runtime.binary,
        root: record.runtime.root,
        systemdCgroup: record.runtime.systemdCgroup,
        logPath: join(record.bundle, 'log.json'),
        timeoutSeconds: context.config.runtimeTimeoutSeconds,
      },
      context.commands,
      () => context.commands.capture(),
    );
  }

  get id(): string {
    return this.record.id;
  }

  get runtime(): OciRuntime {
    return this.#runtime;
  }

  /** @throws TtrpcError NOT_FOUND */
  process(execId: string): Process {
    return execId === '' ? this.init : this.execs.get(execId);
  }

  /** What State reports: the container's paused state covers all of its processes. */
  stateOf(process: Process): 'created' | 'running' | 'stopped' | 'paused' | 'pausing' | 'deleted' {
    if (process.state !== 'running') return process.state;
    if (this.#pausing) return 'pausing';
    return this.record.paused ? 'paused' : 'running';
  }

  save(): void {
    this.#context.records.container(this.record);
  }

  // ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Starts the first process, or restores the container from its checkpoint. Returns its pid. */
  async start(): Promise<number> {
    return await this.#lock.run(async () => {
      requireTransition(this.init.name, this.init.state, 'running');
      this.requireLiving();
      this.#starting = new Deferred<void>();
      try {
        if (this.record.checkpoint === '') await this.#runtime.start(this.id);
        else await this.#restore();
        this.init.transition('running');
        this.#context.events.publish(containerEvents.start(this));
        this.save();
      } finally {
        this.#starting.resolve();
      }
      if (this.record.checkpoint !== '') this.watchInit();
      return this.init.record.pid;
    });
  }

  async #restore(): Promise<void> {
    const { record } = this;
    await connectProcess(this.init, this, this.#context, async (stdio) => {
      const pid = await this.#runtime.restore(this.id, {
        bundle: record.bundle,
        pidFile: initPidPath(record.bundle),
        imagePath: record.checkpoint,
        workPath: record.runtime.criuWorkPath,
        ...(record.parentCheckpoint === '' ? {} : { parentPath: record.parentCheckpoint }),
        stdio,
        noPivot: record.runtime.noPivotRoot,
      });
      return pid;
    });
    this.adoptInit();
  }

  /** The runtime has made the first process. `watchInit` follows once its start or creation was told. */
  adoptInit(): void {
    this.record.cgroups = containerCgroups(this.init.record.pid);
    this.#context.oom.watch(this);
  }

  /** From now on the first process's end is seen, and told. */
  watchInit(): void {
    this.watch(this.init);
  }

  /** @throws TtrpcError FAILED_PRECONDITION when the first process has ended, told or not */
  requireLiving(): void {
    if (this.init.record.exit === null) return;
    throw new TtrpcError(Code.FailedPrecondition, `${this.init.name}: its init process is not running`);
  }

  // ── end ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes up what an earlier program image was about to do: listen for exits, announce those that were noted. */
  resume(): void {
    for (const process of [this.init, ...this.execs]) {
      process.watchLogger(this.#context.exits);
      if (process.record.pid === 0 || process.state === 'stopped') continue;
      if (process.record.exit === null) this.watch(process);
      else if (process === this.init || process.state === 'running') this.#settle(process);
    }
  }

  /** From now on the process's end is seen, and told; also if it has ended already. */
  watch(process: Process): void {
    if (process.record.exit !== null) {
      this.#settle(process);
      return;
    }
    this.#context.exits.on(process.record.pid, (exit) => {
      process.noteExit(exit);
      this.save();
      this.#settle(process);
    });
  }

  /** Brings a process that has ended to its announced end. Runs in the background; it can be begun anew at any time. */
  #settle(process: Process): void {
    const settling = process === this.init ? this.#settleInit() : this.#settleExec(process);
    this.#context.activity.track(settling).catch((error: unknown) => {
      this.#context.log.error(`${process.name} ended and that could not be handled`, { error: inspect(error) });
    });
  }

  async #settleExec(exec: Process): Promise<void> {
    await exec.drain();
    this.#announce(exec);
  }

  /** The first process's end is the last that is told of a container: all of its execs have ended and were told of before. */
  async #settleInit(): Promise<void> {
    await this.#starting?.promise;
    this.#attempt('end the rest of it', () => {
      if (!this.record.ownPidNamespace) this.#killRest();
    });
    await withinMs(this.execs.ended(), killTimeoutMs);
    await this.init.drain();
    this.#attempt('look for OOM kills', () => {
      this.#context.oom.check(this);
      this.#context.oom.unwatch(this.id);
    });
    this.#attempt('thaw its cgroup', () => {
      // Runtimes take what has ended frozen for paused, and do not delete it.
      if (this.record.paused) thawCgroup(this.record.cgroups);
    });
    this.record.paused = false;
    this.#announce(this.init);
  }

  /** Whatever fails on the way, the end of the container is told. */
  #attempt(what: string, step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#context.log.error(`${this.init.name} has ended; could not ${what}`, { error: inspect(error) });
    }
  }

  #announce(process: Process): void {
    const { exit } = process.record;
    if (exit === null || process.state === 'stopped' || process.state === 'deleted') return;
    // State change and event are one step: nothing can come between them.
    process.markStopped();
    this.save();
    // What is told is in the record: whoever cleans up after a shim that is killed right then must tell the same.
    if (process === this.init) this.#context.records.flush();
    this.#context.events.publish(containerEvents.exit(this, process, exit));
    process.announceStopped(exit);
  }

  #killRest(): void {
    for (const exec of this.execs) if (exec.state === 'running' && exec.record.exit === null) exec.signal(sigkill);
    killAll(this.record.cgroups);
  }

  // ── signals, pause ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** `all`: every process in the container's cgroup. @throws TtrpcError NOT_FOUND when the process has ended */
  async kill(execId: string, signal: number, all: boolean): Promise<void> {
    const process = this.process(execId);
    if (all && execId === '') {
      if (killCgroup(this.record.cgroups, signal) === 0) process.signal(signal);
    } else {
      process.signal(signal);
    }
    if (signal === sigkill && this.record.paused && !diesFrozen(this.record.cgroups)) await this.#thawToDie();
  }

  /** Frozen processes take SIGKILL when they are thawed. One that has ended meanwhile needs no thawing. */
  async #thawToDie(): Promise<void> {
    try {
      await this.resumeExecution();
    } catch (error) {
      if (this.init.record.exit === null && this.record.paused) throw error;
    }
  }

  async pause(): Promise<void> {
    await this.#lock.run(async () => {
      requireState(this.init.name, 'pause', this.stateOf(this.init), ['running']);
      this.#pausing = true;
      try {
        await this.#runtime.pause(this.id);
        this.record.paused = true;
      } finally {
        this.#pausing = false;
      }
      this.#context.events.publish(containerEvents.paused(this));
      this.save();
    });
  }

  async resumeExecution(): Promise<void> {
    await this.#lock.run(async () => {
      requireState(this.init.name, 'resume', this.stateOf(this.init), ['paused']);
      await this.#runtime.resume(this.id);
      this.record.paused = false;
      this.#context.events.publish(containerEvents.resumed(this));
      this.save();
    });
  }

  // ── delete ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Removes the container: its stdio, what the runtime keeps, its rootfs. One that was made and not started is ended first. */
  async delete(): Promise<void> {
    await this.#lock.run(async () => {
      requireTransition(this.init.name, this.init.state, 'deleted');
      await this.#remove(this.init.state === 'created');
      this.init.transition('deleted');
      this.#releaseWaiters();
      this.#context.events.publish(containerEvents.deleted(this));
      this.#context.records.forget(this.record);
    });
  }

  /** Ends everything at once, in whatever state it is. */
  async destroy(): Promise<void> {
    await this.#lock.run(async () => {
      await this.end();
      await this.#remove(true);
      this.init.record.state = 'deleted';
      this.#releaseWaiters();
      this.#context.records.forget(this.record);
    });
  }

  /** Ends all processes of the container at once. One that does not run is left as it is. */
  async end(): Promise<void> {
    if (this.init.state !== 'running') return;
    if (this.record.paused) await this.#runtime.resume(this.id).catch(() => undefined);
    killAll(this.record.cgroups);
    try {
      this.init.signal(sigkill);
    } catch {
      // it has ended
    }
    await withinMs(this.init.wait(), killTimeoutMs);
  }

  #releaseWaiters(): void {
    for (const process of [this.init, ...this.execs]) process.releaseWaiters();
  }

  async #remove(force: boolean): Promise<void> {
    await this.#runtime.delete(this.id, force);
    if (force && this.init.record.pid !== 0 && this.init.state !== 'stopped')
      await withinMs(this.init.wait(), killTimeoutMs);
    this.#context.oom.unwatch(this.id);
    await Promise.all([this.init, ...this.execs].map((process) => process.closeStdio()));
    if (this.record.hasMounts) unmountRootfs(this.record.bundle, this.#context.native);
  }

  // ── the rest ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async update(resources: string): Promise<void> {
    await this.#lock.run(async () => {
      requireState(this.init.name, 'update', this.stateOf(this.init), ['created', 'running', 'paused']);
      await this.#runtime.update(this.id, resources, join(this.record.bundle, 'resources.json'));
    });
  }

  async checkpoint(options: CheckpointOptions): Promise<void> {
    await this.#lock.run(async () => {
      requireState(this.init.name, 'checkpoint', this.stateOf(this.init), ['running', 'paused']);
      await this.#runtime.checkpoint(this.id, options);
      this.#context.events.publish(containerEvents.checkpointed(this, options.imagePath));
    });
  }

  /** Pids of all processes in the container, the first one first. */
  pids(): number[] {
    if (this.init.record.exit !== null || this.init.record.pid === 0) return [];
    const inside = processesInCgroups(this.record.cgroups);
    return inside.length === 0 ? [this.init.record.pid] : inside;
  }

  metrics(): CgroupMetrics {
    if (this.init.state === 'stopped' || this.init.record.pid === 0) {
      throw new TtrpcError(Code.NotFound, `${this.init.name} has no cgroup: it is ${this.stateOf(this.init)}`);
    }
    return readCgroupMetrics(this.record.cgroups);
  }
}
