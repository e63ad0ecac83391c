import type { ChildExit } from '../linux/index.ts';
import type { EndedChild } from './handover.ts';

type ExitListener = (exit: ChildExit) => void;

/**
 * Brings the exits that the one reaper sees to who waits for them. An exit can be seen before the runtime has told the
 * pid: while such a call is under way (`expect`), exits that nobody claims are kept until it is over.
 */
export class Exits {
  readonly #listeners = new Map<number, ExitListener>();
  readonly #unclaimed = new Map<number, { exit: ChildExit; order: number }>();
  #expecting = 0;
  #order = 0;
  #endedBefore: EndedChild | undefined;

  /** @param endedBefore a child of which it was noticed before the reaper was there */
  constructor(endedBefore?: EndedChild) {
    this.#endedBefore = endedBefore;
  }

  /** Called by the reaper's event. Synchronous: when it returns, the exit is in somebody's record. */
  handle(seen: ChildExit): void {
    const before = this.#endedBefore?.pid === seen.pid ? this.#endedBefore.at : seen.atNanoseconds;
    const exit = before < seen.atNanoseconds ? { ...seen, atNanoseconds: before } : seen;
    if (exit !== seen) this.#endedBefore = undefined;
    const listener = this.#listeners.get(exit.pid);
    if (listener !== undefined) {
      this.#listeners.delete(exit.pid);
      listener(exit);
    } else if (this.#expecting > 0) {
      this.#unclaimed.set(exit.pid, { exit, order: ++this.#order });
    }
    // Else it is an orphan of a container, re-parented to the shim: collecting it is all there is to do.
  }

  /** Calls the listener once when that child ends, which must not have been seen yet. */
  on(pid: number, listener: ExitListener): void {
    // What is kept under this number was another process.
    this.#unclaimed.delete(pid);
    this.#listeners.set(pid, listener);
  }

  /** From now until its `end`, exits of unknown children are kept for its `on`. */
  expect(): ExpectedExits {
    const since = this.#order;
    this.#expecting++;
    let open = true;
    return {
      on: (pid, listener) => {
        const early = this.#unclaimed.get(pid);
        this.#unclaimed.delete(pid);
        if (early !== undefined && early.order > since) listener(early.exit);
        else this.#listeners.set(pid, listener);
      },
      end: () => {
        if (!open) return;
        open = false;
        if (--this.#expecting === 0) this.#unclaimed.clear();
      },
    };
  }
}

export interface ExpectedExits {
  /** Calls the listener once when that child ends, at once if that has happened since `expect`. */
  on(pid: number, listener: ExitListener): void;
  end(): void;
}
