import type { Logger } from 'pino';

/** What undoes the steps that were taken, newest first. */
export class UndoStack {
  readonly #steps: { what: string; undo: () => unknown }[] = [];
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Says how the step that is about to be taken is undone; `undo` must do no harm when the step was not, or half, taken. */
  add(what: string, undo: () => unknown): void {
    this.#steps.push({ what, undo });
  }

  /** Undoes everything. A step that cannot be undone is logged and does not keep the others from it. */
  async run(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        this.#log.error({ err: error, step: step.what }, 'cannot undo a step; the next start of berthd tries again');
      }
    }
  }
}
