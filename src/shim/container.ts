import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import {
  containerCgroups,
  killCgroup,
  processesInCgroups,
  readCgroupMetrics,
  type CgroupMetrics,
} from '../linux/index.ts';
import { initPidPath, OciRuntime, type CheckpointOptions, type ProcessSpec } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import { containerEvents } from './container-events.ts';
import type { ShimContext } from './context.ts';
import { killAll } from './kill-all.ts';
import { Deferred, Lock, withinMs } from './lock.ts';
import { newProcessRecord, Process } from './process.ts';
import { requireState, requireTransition } from './process-state.ts';
import {
  containerRecordFile,
  writeRecord,
  type ContainerRecord,
  type ProcessRecord,
  type StdioRecord,
} from './record.ts';
import { unmountRootfs } from './rootfs.ts';
import type { StdioOwner } from './stdio.ts';

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
  readonly #execs = new Map<string, Process>();
  readonly #runtime: OciRuntime;
  /** Calls that change the container as a whole go one after the other; so do those on one exec. */
  readonly #lock = new Lock();
  readonly #execLocks = new Map<string, Lock>();
  #pausing = false;
  /** Set while the first process is being started: its end is told after its start. */
  #starting: Deferred<void> | undefined;

  constructor(record: ContainerRecord, context: ShimContext) {
    this.record = record;
    this.#context = context;
    this.init = this.#process(record.init, `container "${record.id}"`);
    for (const exec of record.execs) this.#execs.set(exec.execId, this.#process(exec, this.#execName(exec.execId)));
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

  get execs(): Iterable<Process> {
    return this.#execs.values();
  }

  #process(record: ProcessRecord, name: string): Process {
    return new Process(record, name, this.#context.native, this.#context.reactor);
  }

  #execName(execId: string): string {
    return `exec "${execId}" of container "${this.id}"`;
  }

  /** @throws TtrpcError NOT_FOUND */
  process(execId: string): Process {
    if (execId === '') return this.init;
    const exec = this.#execs.get(execId);
    if (exec === undefined) throw new TtrpcError(Code.NotFound, `${this.#execName(execId)} does not exist`);
    return exec;
  }

  /** What State reports: the container's paused state covers all of its processes. */
  stateOf(process: Process): 'created' | 'running' | 'stopped' | 'paused' | 'pausing' | 'deleted' {
    if (process.state !== 'running') return process.state;
    if (this.#pausing) return 'pausing';
    return this.record.paused ? 'paused' : 'running';
  }

  save(): void {
    writeRecord(this.record.bundle, containerRecordFile, this.record);
  }

  // ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Starts the first process, or restores the container from its checkpoint. Returns its pid. */
  async start(): Promise<number> {
    return await this.#lock.run(async () => {
      requireTransition(this.init.name, this.init.state, 'running');
      if (this.init.record.exit !== null) throw this.#initEnded();
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
    const { record, init } = this;
    const stop = this.#context.exits.expect();
    try {
      const prepared = await this.#context.stdio.prepare(init.record.stdio, this.socketName(''), this.stdioOwner);
      try {
        const pid = await this.#runtime.restore(this.id, {
          bundle: record.bundle,
          pidFile: initPidPath(record.bundle),
          imagePath: record.checkpoint,
          workPath: record.runtime.criuWorkPath,
          ...(record.parentCheckpoint === '' ? {} : { parentPath: record.parentCheckpoint }),
          stdio: prepared.forRuntime,
          noPivot: record.runtime.noPivotRoot,
        });
        await prepared.connect(init.record);
        this.adoptInit(pid);
      } catch (error) {
        prepared.abandon();
        throw error;
      }
    } finally {
      stop();
    }
  }

  /** The runtime has made the first process; called while exits are kept. `watchInit` follows once its start or creation was told. */
  adoptInit(pid: number): void {
    this.init.attachPid(pid);
    this.init.watchLogger(this.#context.exits);
    // Its end may have been seen already: it is claimed while it is still kept.
    this.#context.exits.on(pid, (exit) => {
      this.init.noteExit(exit);
    });
    this.record.cgroups = containerCgroups(pid);
    this.#context.oom.watch(this);
  }

  /** From now on the first process's end is seen, and told. */
  watchInit(): void {
    this.#watchExit(this.init);
  }

  /** The exec's first half: it exists, and is started later. @throws TtrpcError ALREADY_EXISTS, FAILED_PRECONDITION */
  addExec(execId: string, stdio: StdioRecord, spec: ProcessSpec): Process {
    if (this.#execs.has(execId)) throw new TtrpcError(Code.AlreadyExists, `${this.#execName(execId)} already exists`);
    requireState(this.init.name, 'exec in', this.stateOf(this.init), ['created', 'running']);
    if (this.init.record.exit !== null) throw this.#initEnded();
    const record = newProcessRecord(execId, stdio, JSON.stringify({ ...spec, terminal: stdio.terminal }));
    const exec = this.#process(record, this.#execName(execId));
    this.record.execs.push(record);
    this.#execs.set(execId, exec);
    this.#context.events.publish(containerEvents.execAdded(this, execId));
    this.save();
    return exec;
  }

  async startExec(execId: string): Promise<number> {
    const exec = this.process(execId);
    return await this.#execLock(execId).run(async () => {
      requireTransition(exec.name, exec.state, 'running');
      requireState(this.init.name, 'exec in', this.stateOf(this.init), ['running']);
      if (this.init.record.exit !== null) throw this.#initEnded();
      await this.#runExec(exec);
      exec.transition('running');
      this.#context.events.publish(containerEvents.execStarted(this, exec));
      this.save();
      this.#watchExit(exec);
      return exec.record.pid;
    });
  }

  async #runExec(exec: Process): Promise<void> {
    const { execId, stdio, spec } = exec.record;
    const stop = this.#context.exits.expect();
    try {
      const prepared = await this.#context.stdio.prepare(stdio, this.socketName(execId), this.stdioOwner);
      try {
        const pid = await this.#runtime.exec(this.id, {
          spec: JSON.parse(spec) as ProcessSpec,
          specFile: join(this.record.bundle, `exec-${execId}.json`),
          pidFile: join(this.record.bundle, `exec-${execId}.pid`),
          stdio: prepared.forRuntime,
        });
        await prepared.connect(exec.record);
        exec.watchLogger(this.#context.exits);
        exec.attachPid(pid);
        // Its end may have been seen already: it is claimed while it is still kept.
        this.#context.exits.on(pid, (exit) => {
          exec.noteExit(exit);
        });
      } catch (error) {
        prepared.abandon();
        throw error;
      }
    } finally {
      stop();
    }
  }

  #execLock(execId: string): Lock {
    let lock = this.#execLocks.get(execId);
    if (lock === undefined) this.#execLocks.set(execId, (lock = new Lock()));
    return lock;
  }

  #initEnded(): TtrpcError {
    return new TtrpcError(Code.FailedPrecondition, `${this.init.name}: its init process is not running`);
  }

  /** A short name for the console socket, unique in the socket folder. */
  socketName(execId: string): string {
    return `${this.#context.record.socketPath.split('/').pop()?.slice(0, 24) ?? ''}-${this.#context.reactor.nextId()}${execId === '' ? 'i' : 'e'}`;
  }

  get stdioOwner(): StdioOwner {
    const { ioUid, ioGid } = this.record.runtime;
    return {
      containerId: this.id,
      bundle: this.record.bundle,
      socketFolder: this.#context.record.socketFolder,
      ioUid,
      ioGid,
    };
  }

  // ── end ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Takes up what an earlier program image was about to do: listen for exits, announce those that were noted. */
  resume(): void {
    for (const process of [this.init, ...this.#execs.values()]) {
      process.watchLogger(this.#context.exits);
      if (process.record.pid === 0 || process.state === 'stopped') continue;
      if (process.record.exit === null) this.#watchExit(process);
      else if (process === this.init || process.state === 'running') this.#settle(process);
    }
  }

  #watchExit(process: Process): void {
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
    if (!this.record.ownPidNamespace) this.#killRest();
    const execs = [...this.#execs.values()].filter((exec) => exec.record.pid !== 0);
    await withinMs(Promise.all(execs.map((exec) => exec.wait())), killTimeoutMs);
    await this.init.drain();
    this.#context.oom.check(this);
    this.#context.oom.unwatch(this.id);
    this.record.paused = false;
    this.#announce(this.init);
  }

  #announce(process: Process): void {
    const { exit } = process.record;
    if (exit === null || process.state === 'stopped' || process.state === 'deleted') return;
    // Event and state change are one step: nothing can come between them.
    this.#context.events.publish(containerEvents.exit(this, process, exit));
    process.announceStopped(exit);
    this.save();
  }

  #killRest(): void {
    for (const exec of this.#execs.values()) {
      if (exec.state === 'running' && exec.record.exit === null) exec.signal(sigkill);
    }
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
    // Frozen processes do not die before they are thawed.
    if (signal === sigkill && this.record.paused) await this.resumeExecution();
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

  /** Removes an exec that has ended or was never started. */
  async deleteExec(execId: string): Promise<Process> {
    const exec = this.process(execId);
    return await this.#execLock(execId).run(async () => {
      requireTransition(exec.name, exec.state, 'deleted');
      await exec.closeStdio();
      exec.transition('deleted');
      this.#execs.delete(execId);
      this.#execLocks.delete(execId);
      this.record.execs = this.record.execs.filter((record) => record !== exec.record);
      this.save();
      return exec;
    });
  }

  /** Removes the container: its stdio, what the runtime keeps, its rootfs. One that was made and not started is ended first. */
  async delete(): Promise<void> {
    await this.#lock.run(async () => {
      requireTransition(this.init.name, this.init.state, 'deleted');
      await this.#remove(this.init.state === 'created');
      this.init.transition('deleted');
      this.#context.events.publish(containerEvents.deleted(this));
      rmSync(join(this.record.bundle, containerRecordFile), { force: true });
    });
  }

  /** Ends everything at once, in whatever state it is. */
  async destroy(): Promise<void> {
    await this.#lock.run(async () => {
      await this.end();
      await this.#remove(true);
      if (this.init.state !== 'deleted') this.init.record.state = 'deleted';
      rmSync(join(this.record.bundle, containerRecordFile), { force: true });
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

  async #remove(force: boolean): Promise<void> {
    await this.#runtime.delete(this.id, force);
    if (force && this.init.record.pid !== 0 && this.init.state !== 'stopped')
      await withinMs(this.init.wait(), killTimeoutMs);
    this.#context.oom.unwatch(this.id);
    await Promise.all([this.init, ...this.#execs.values()].map((process) => process.closeStdio()));
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
