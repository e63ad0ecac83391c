import type { InputOptions, Loop, LoopEvent, OutputOptions } from '../linux/index.ts';
import type { Exits } from './exits.ts';

export const pollIn = 1;
export const pollPriority = 2;
export const pollOut = 4;
/** What poll reports unasked: an error, and the other end gone. */
export const pollTrouble = 8 | 16;

type ReadyListener = (bits: number) => void;

/** What happened to an output, besides what was asked for. */
export interface OutputObserver {
  spooling(outputId: number, active: boolean): void;
  sinkError(outputId: number, errno: number): void;
  clientGone(clientId: number, reason: string): void;
  /** A listener has thrown. */
  failed(error: unknown): void;
}

/**
 * The shim's one event loop, seen from TypeScript: who asked is told. Ids come from the record, so that they stay unique
 * when the program image is replaced.
 */
export class Reactor {
  readonly #loop: Loop;
  readonly #exits: Exits;
  readonly #nextId: () => number;
  readonly #ready = new Map<number, ReadyListener>();
  readonly #drained = new Map<number, () => void>();
  readonly #ended = new Map<number, () => void>();
  #observer: OutputObserver | undefined;
  #after: () => void = () => undefined;

  constructor(loop: Loop, exits: Exits, nextId: () => number) {
    this.#loop = loop;
    this.#exits = exits;
    this.#nextId = nextId;
  }

  /** Starts to report. `after` runs when all that was reported at once has been handled. */
  start(observer: OutputObserver, after: () => void): void {
    this.#observer = observer;
    this.#after = after;
    this.restart();
  }

  /** Goes on after `stop`. */
  restart(): void {
    this.#loop.start((events) => {
      for (const event of events) this.#handleSafely(event);
      this.#after();
    });
  }

  /** Stops reporting. Nothing is lost: what was not told is told after `restart`, or to the next program image. */
  stop(): void {
    this.#loop.stop();
  }

  get loop(): Loop {
    return this.#loop;
  }

  nextId(): number {
    return this.#nextId();
  }

  /** Calls the listener once when the descriptor is ready (poll bits). Calling again with the same id arms it again. */
  watch(id: number, fd: number, bits: number, listener: ReadyListener): void {
    this.#ready.set(id, listener);
    this.#loop.watch(id, fd, bits);
  }

  unwatch(id: number): void {
    if (this.#ready.delete(id)) this.#loop.unwatch(id);
  }

  /** Resolves when the descriptor can be read or its other end is gone; rejects with the signal's reason. */
  async readable(fd: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const id = this.nextId();
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.unwatch(id);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.watch(id, fd, pollIn, () => {
        signal.removeEventListener('abort', onAbort);
        this.unwatch(id);
        resolve();
      });
    });
  }

  addOutput(options: Omit<OutputOptions, 'id'>): number {
    const id = this.nextId();
    this.#loop.addOutput({ ...options, id });
    return id;
  }

  addInput(options: Omit<InputOptions, 'id'>): number {
    const id = this.nextId();
    this.#loop.addInput({ ...options, id });
    return id;
  }

  /** Resolves when what the output's process has written so far is delivered or safe in the spool, also when it has ended long ago. */
  async drain(id: number, graceMilliseconds: number): Promise<void> {
    await this.#ask(this.#drained, id, () => {
      this.#loop.drainOutput(id, graceMilliseconds);
    });
  }

  /** Delivers what is left, closes the output, and resolves. */
  async finish(id: number, graceMilliseconds: number): Promise<void> {
    await this.#ask(this.#ended, id, () => {
      this.#loop.finishOutput(id, graceMilliseconds);
    });
  }

  async #ask(answers: Map<number, () => void>, id: number, question: () => void): Promise<void> {
    await new Promise<void>((resolve) => {
      const before = answers.get(id);
      answers.set(id, () => {
        before?.();
        resolve();
      });
      try {
        question();
      } catch {
        // An output that has ended is gone from the pump: everything of it was delivered.
        this.#answer(answers, id);
      }
    });
  }

  #answer(answers: Map<number, () => void>, id: number): void {
    const resolve = answers.get(id);
    answers.delete(id);
    resolve?.();
  }

  /** One listener's failure is nobody else's: the events after it are handled, and a child is collected. */
  #handleSafely(event: LoopEvent): void {
    try {
      this.#handle(event);
    } catch (error) {
      this.#observer?.failed(error);
    } finally {
      if (event.kind === 'exit') this.#loop.collect(event.pid);
    }
  }

  #handle(event: LoopEvent): void {
    switch (event.kind) {
      case 'exit':
        this.#exits.handle(event);
        return;
      case 'ready':
        this.#ready.get(event.id)?.(event.bits);
        return;
      case 'drained':
        this.#answer(this.#drained, event.id);
        return;
      case 'outputEnded':
        this.#answer(this.#drained, event.id);
        this.#answer(this.#ended, event.id);
        return;
      case 'spooling':
        this.#observer?.spooling(event.id, event.active);
        return;
      case 'sinkError':
        this.#observer?.sinkError(event.id, event.errno);
        return;
      case 'clientGone':
        this.#observer?.clientGone(event.id, event.reason);
        return;
      case 'inputEnded':
        return;
    }
  }
}
