import type { Spec } from '../oci/index.ts';
import type { ShimContext } from './context.ts';
import type { SandboxRecord } from './record.ts';
import { Sandbox } from './sandbox.ts';

/** The place of the one sandbox that a shim can have. A shim without one runs containers as they come. */
export class SandboxHolder {
  readonly #context: ShimContext;
  #sandbox: Sandbox | undefined;

  constructor(context: ShimContext) {
    this.#context = context;
    const { sandbox } = context.record;
    if (sandbox !== null) this.#sandbox = new Sandbox(sandbox, context);
  }

  get sandbox(): Sandbox | undefined {
    return this.#sandbox;
  }

  create(record: SandboxRecord): void {
    this.#context.record.sandbox = record;
    this.#sandbox = new Sandbox(record, this.#context);
    this.#context.save();
  }

  /** Makes the configuration of a new container that of a member, when there is a sandbox. Says whether anything changed. */
  adapt(spec: Spec): boolean {
    return this.#sandbox?.adapt(spec) ?? false;
  }
}
