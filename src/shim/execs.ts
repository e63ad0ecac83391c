import { join } from 'node:path';
import type { ProcessSpec } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import { containerEvents } from './container-events.ts';
import type { Container } from './container.ts';
import type { ShimContext } from './context.ts';
import { Lock } from './lock.ts';
import { connectProcess } from './process-start.ts';
import { requireState, requireTransition } from './process-state.ts';
import { newProcessRecord, Process } from './process.ts';
import type { ProcessRecord, StdioRecord } from './record.ts';

/** The exec processes of one container, by id: added, started, and deleted when they have ended. */
export class Execs implements Iterable<Process> {
  readonly #container: Container;
  readonly #context: ShimContext;
  readonly #execs = new Map<string, Process>();
  /** Calls on one exec go one after the other; different execs do not wait for each other. */
  readonly #locks = new Map<string, Lock>();
  readonly #starting = new Set<Promise<unknown>>();

  constructor(container: Container, context: ShimContext) {
    this.#container = container;
    this.#context = context;
    for (const record of container.record.execs) this.#execs.set(record.execId, this.#process(record));
  }

  [Symbol.iterator](): Iterator<Process> {
    return this.#execs.values();
  }

  get size(): number {
    return this.#execs.size;
  }

  find(execId: string): Process | undefined {
    return this.#execs.get(execId);
  }

  /** @throws TtrpcError NOT_FOUND */
  get(execId: string): Process {
    const exec = this.#execs.get(execId);
    if (exec === undefined) throw new TtrpcError(Code.NotFound, `${this.#name(execId)} does not exist`);
    return exec;
  }

  /** An exec exists from here on, and is started later. @throws TtrpcError ALREADY_EXISTS, FAILED_PRECONDITION */
  add(execId: string, stdio: StdioRecord, spec: ProcessSpec): void {
    const { init } = this.#container;
    if (this.#execs.has(execId)) throw new TtrpcError(Code.AlreadyExists, `${this.#name(execId)} already exists`);
    requireState(init.name, 'exec in', this.#container.stateOf(init), ['created', 'running']);
    this.#container.requireLiving();
    const record = newProcessRecord(execId, stdio, JSON.stringify({ ...spec, terminal: stdio.terminal }));
    this.#container.record.execs.push(record);
    this.#execs.set(execId, this.#process(record));
    this.#context.events.publish(containerEvents.execAdded(this.#container, execId));
    this.#container.save();
  }

  /** Returns the pid. @throws TtrpcError, RuntimeError */
  async start(execId: string): Promise<number> {
    const exec = this.get(execId);
    return await this.#lock(execId).run(async () => {
      const { init } = this.#container;
      requireTransition(exec.name, exec.state, 'running');
      requireState(init.name, 'exec in', this.#container.stateOf(init), ['running']);
      this.#container.requireLiving();
      const running = this.#run(exec);
      this.#starting.add(running);
      try {
        await running;
      } finally {
        this.#starting.delete(running);
      }
      exec.transition('running');
      this.#context.events.publish(containerEvents.execStarted(this.#container, exec));
      this.#container.save();
      this.#container.watch(exec);
      return exec.record.pid;
    });
  }

  async #run(exec: Process): Promise<void> {
    const { execId, spec } = exec.record;
    const { bundle } = this.#container.record;
    await connectProcess(exec, this.#container, this.#context, async (stdio) => {
      const files = {
        specFile: join(bundle, `exec-${execId}.json`),
        pidFile: join(bundle, `exec-${execId}.pid`),
      };
      return await this.#container.runtime.exec(this.#container.id, {
        ...files,
        spec: JSON.parse(spec) as ProcessSpec,
        stdio,
      });
    });
  }

  /** Resolves when every exec that was started has ended and that was told, those too that are just being started. */
  async ended(): Promise<void> {
    await Promise.allSettled(this.#starting);
    const started = [...this.#execs.values()].filter(({ record }) => record.pid !== 0);
    await Promise.all(started.map((exec) => exec.wait()));
  }

  /** Removes one that has ended or was never started. */
  async delete(execId: string): Promise<Process> {
    const exec = this.get(execId);
    return await this.#lock(execId).run(async () => {
      requireTransition(exec.name, exec.state, 'deleted');
      await exec.closeStdio();
      exec.transition('deleted');
      exec.releaseWaiters();
      this.#execs.delete(execId);
      this.#locks.delete(execId);
      const { record } = this.#container;
      record.execs = record.execs.filter((other) => other !== exec.record);
      this.#container.save();
      return exec;
    });
  }

  #process(record: ProcessRecord): Process {
    return new Process(record, this.#name(record.execId), this.#context.native, this.#context.reactor);
  }

  #name(execId: string): string {
    return `exec "${execId}" of container "${this.#container.id}"`;
  }

  #lock(execId: string): Lock {
    let lock = this.#locks.get(execId);
    if (lock === undefined) this.#locks.set(execId, (lock = new Lock()));
    return lock;
  }
}
