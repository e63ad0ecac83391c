import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Code, RpcError } from '../../grpc/index.ts';
import type { PodShim } from '../tasks/index.ts';

/** How long calls wait for a shim that is about to be met, from when that begins. */
const meetingMs = 10_000;

interface Meeting {
  readonly over: Promise<void>;
  readonly hurry: () => void;
  /** Ends the waiting of all that wait. */
  patience?: Promise<unknown>;
}

/** The shims that we are connected to, by sandbox, and those that an earlier daemon has left and that are about to be met. */
export class PodShims {
  readonly #shims = new Map<string, PodShim>();
  readonly #meetings = new Map<string, Meeting>();
  readonly #log: Logger;
  #whenLost: (sandboxId: string) => void = () => undefined;
  #whenSandboxEnded: (sandboxId: string) => void = () => undefined;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** What is to be done when a shim has gone without having been let go, or the process that holds a pod's namespaces has. */
  onLost(shim: (sandboxId: string) => void, sandbox: (sandboxId: string) => void): void {
    this.#whenLost = shim;
    this.#whenSandboxEnded = sandbox;
  }

  /** Of a shim that is here, and whose sandbox is started: from now on it is noticed when that ends. */
  watchSandbox(sandboxId: string): void {
    const shim = this.#shims.get(sandboxId);
    shim
      ?.sandboxEnded()
      .then(() => {
        if (this.#shims.get(sandboxId) === shim) this.#whenSandboxEnded(sandboxId);
      })
      .catch((err: unknown) => {
        // Of a shim that is gone, which is noticed by itself.
        this.#log.debug({ sandbox: sandboxId, err }, 'the end of a sandbox is not waited for any longer');
      });
  }

  add(sandboxId: string, shim: PodShim): void {
    this.#shims.set(sandboxId, shim);
    void shim.whenGone.then((reason) => {
      if (this.#shims.get(sandboxId) !== shim) return;
      this.#shims.delete(sandboxId);
      this.#log.warn({ sandbox: sandboxId, reason }, 'the shim of a pod is gone');
      this.#whenLost(sandboxId);
    });
  }

  /**
   * Calls for this sandbox wait for the meeting, but not longer than ten seconds in all.
   * @param over must resolve when the shim is here, or known to be gone
   * @param hurry is called when somebody waits
   */
  expect(sandboxId: string, over: Promise<void>, hurry: () => void): void {
    this.#meetings.set(sandboxId, { over, hurry });
    void over.then(() => this.#meetings.delete(sandboxId));
  }

  /** Resolves when no meeting with this shim is ahead, or ten seconds after the first who has waited for it began to: it hangs. */
  async met(sandboxId: string): Promise<void> {
    const meeting = this.#meetings.get(sandboxId);
    if (meeting === undefined) return;
    meeting.hurry();
    meeting.patience ??= sleep(meetingMs, undefined, { ref: false });
    await Promise.race([meeting.over, meeting.patience]);
  }

  /** From now on it is nobody's loss when it goes. */
  letGo(sandboxId: string): PodShim | undefined {
    const shim = this.#shims.get(sandboxId);
    this.#shims.delete(sandboxId);
    return shim;
  }

  /** The daemon ends, and all shims stay: losing the connections to them means nothing any more. */
  close(): void {
    this.onLost(
      () => undefined,
      () => undefined,
    );
    this.#shims.clear();
  }

  find(sandboxId: string): PodShim | undefined {
    return this.#shims.get(sandboxId);
  }

  /** @throws {RpcError} UNAVAILABLE when we are not connected to it, and will not soon be */
  async get(sandboxId: string): Promise<PodShim> {
    await this.met(sandboxId);
    const shim = this.#shims.get(sandboxId);
    if (shim !== undefined) return shim;
    throw new RpcError(
      Code.Unavailable,
      `the shim of pod ${sandboxId} does not answer: stop and remove the pod if this lasts (berthctl stopp, rmp)`,
    );
  }
}
