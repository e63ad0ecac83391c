import type { envelopes } from '../wire/index.ts';
import { Metadata } from './metadata.ts';
import { Code, TtrpcError } from './status.ts';
import type { Peer } from './transport.ts';

/** The longest wait that a timer can be set for. A deadline that is further off is taken for none. */
const maxTimerMs = 2 ** 31 - 1;

/** A connection, as a handler sees it: something to tell one client from another. */
export interface ConnectionIdentity {
  /** Unique in this server; given anew after a hand-over. */
  readonly id: number;
}

/** What a handler is told about the call, besides the request. */
export class CallContext {
  readonly service: string;
  readonly method: string;
  readonly peer: Peer | undefined;
  readonly connection: ConnectionIdentity;
  /** When the caller stops waiting, in milliseconds since 1970; undefined for never. */
  readonly deadlineUnixMs: number | undefined;
  readonly #pairs: readonly envelopes.KeyValue[];
  #metadata: Metadata | undefined;
  #controller: AbortController | undefined;
  #cancelled: TtrpcError | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    request: envelopes.Request,
    connection: ConnectionIdentity,
    peer: Peer | undefined,
    deadlineUnixMs: number | undefined,
  ) {
    this.service = request.service;
    this.method = request.method;
    this.peer = peer;
    this.connection = connection;
    this.deadlineUnixMs = deadlineUnixMs;
    this.#pairs = request.metadata;
    if (deadlineUnixMs === undefined) return;
    const remainingMs = deadlineUnixMs - Date.now();
    if (remainingMs > maxTimerMs) return;
    const expire = () => this.cancel(new TtrpcError(Code.DeadlineExceeded, 'context deadline exceeded'));
    if (remainingMs > 0) this.#timer = setTimeout(expire, remainingMs);
    else expire();
  }

  get metadata(): Metadata {
    return (this.#metadata ??= new Metadata(this.#pairs));
  }

  /**
   * Aborted when nobody waits for the answer any more: at the caller's deadline, or when the connection is gone. The
   * reason is a TtrpcError, so `signal.throwIfAborted()` gives the call its right status.
   */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#cancelled) this.#controller.abort(this.#cancelled);
    }
    return this.#controller.signal;
  }

  /** Why the call was cancelled, if it was. */
  get cancelled(): TtrpcError | undefined {
    return this.#cancelled;
  }

  /** Aborts the signal; the first reason stays. */
  cancel(reason: TtrpcError): void {
    if (this.#cancelled) return;
    this.#cancelled = reason;
    clearTimeout(this.#timer);
    this.#controller?.abort(reason);
  }

  /** The call has been answered: its deadline means nothing any more. */
  finish(): void {
    clearTimeout(this.#timer);
  }
}
