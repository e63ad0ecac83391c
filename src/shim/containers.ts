import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { task } from '../wire/index.ts';
import { createContainer, type SpecAdapter } from './container-create.ts';
import { Container } from './container.ts';
import type { ShimContext } from './context.ts';

/** The containers of this shim, by id. */
export class Containers {
  readonly #context: ShimContext;
  readonly #adapt: SpecAdapter;
  readonly #containers = new Map<string, Container>();
  /** By id, creations that are under way; they resolve when it has been seen whether they succeed. */
  readonly #creating = new Map<string, Promise<void>>();

  constructor(context: ShimContext, adapt: SpecAdapter) {
    this.#context = context;
    this.#adapt = adapt;
    for (const record of context.record.containers) this.#containers.set(record.id, new Container(record, context));
  }

  /** After the program image was replaced: takes up every container where it was. */
  resume(): void {
    for (const container of this.#containers.values()) {
      if (container.init.state !== 'stopped') this.#context.oom.watch(container);
      container.resume();
    }
  }

  get size(): number {
    return this.#containers.size + this.#creating.size;
  }

  [Symbol.iterator](): Iterator<Container> {
    return this.#containers.values();
  }

  find(id: string): Container | undefined {
    return this.#containers.get(id);
  }

  /** @throws TtrpcError NOT_FOUND */
  get(id: string): Container {
    const container = this.#containers.get(id);
    if (container === undefined) throw new TtrpcError(Code.NotFound, `container "${id}" does not exist`);
    return container;
  }

  /**
   * The same once its creation, if that is under way, has ended: a manager that was started anew may ask for a container whose
   * creation an earlier one has begun.
   * @throws TtrpcError NOT_FOUND
   */
  async whenCreated(id: string): Promise<Container> {
    await this.#creating.get(id);
    return this.get(id);
  }

  /** @throws TtrpcError ALREADY_EXISTS */
  async create(request: task.CreateTaskRequest): Promise<Container> {
    const { id } = request;
    if (this.#containers.has(id) || this.#creating.has(id)) {
      throw new TtrpcError(Code.AlreadyExists, `container "${id}" already exists`);
    }
    const settled = Promise.withResolvers<undefined>();
    this.#creating.set(id, settled.promise);
    try {
      const container = await createContainer(request, this.#adapt, this.#context);
      this.#containers.set(id, container);
      this.#context.record.containers.push(container.record);
      return container;
    } finally {
      this.#creating.delete(id);
      settled.resolve(undefined);
    }
  }

  /** Resolves when no creation is under way that was when this was called. */
  async allCreated(): Promise<void> {
    await Promise.all(this.#creating.values());
  }

  async delete(container: Container): Promise<void> {
    await container.delete();
    this.#forget(container);
  }

  /** Ends and removes all of them, whatever state they are in. */
  async destroyAll(): Promise<void> {
    await this.allCreated();
    const all = [...this.#containers.values()];
    const results = await Promise.allSettled(all.map((container) => container.destroy()));
    for (const container of all) this.#forget(container);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  #forget(container: Container): void {
    this.#containers.delete(container.id);
    const { record } = this.#context;
    record.containers = record.containers.filter((other) => other !== container.record);
  }
}
