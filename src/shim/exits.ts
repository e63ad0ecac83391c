import type { ChildExit } from '../linux/index.ts';

type ExitListener = (exit: ChildExit) => void;

/**
 * Brings the exits that the one reaper sees to who waits for them. An exit can be seen before the runtime has told the
 * pid: while such a call is under way (`expect`), exits that nobody claims are kept until it is over.
 */
export class Exits {
  readonly #listeners = new Map<number, ExitListener>();
  readonly #unclaimed = new Map<number, ChildExit>();
  #expecting = 0;

  /** Called by the reaper's event. Synchronous: when it returns, the exit is in somebody's record. */
  handle(exit: ChildExit): void {
    const listener = this.#listeners.get(exit.pid);
    if (listener !== undefined) {
      this.#listeners.delete(exit.pid);
      listener(exit);
    } else if (this.#expecting > 0) {
      this.#unclaimed.set(exit.pid, exit);
    }
    // Else it is an orphan of a container, re-parented to the shim: collecting it is all there is to do.
  }

  /** Calls the listener once when that child ends, at once if that has happened since `expect`. */
  on(pid: number, listener: ExitListener): void {
    const early = this.#unclaimed.get(pid);
    if (early === undefined) {
      this.#listeners.set(pid, listener);
      return;
    }
    this.#unclaimed.delete(pid);
    listener(early);
  }

  /** Until the returned function is called, exits of unknown children are kept for `on`. */
  expect(): () => void {
    this.#expecting++;
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      if (--this.#expecting === 0) this.#unclaimed.clear();
    };
  }
}
