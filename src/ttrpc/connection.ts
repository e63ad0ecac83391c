import { type AnyMethod, DecodeError, envelopes } from '../wire/index.ts';
import { CallContext, type ConnectionIdentity } from './call-context.ts';
import { Channel, type FrameHandler, Hold } from './channel.ts';
import { dataFrame, oversized, responseFrame, statusFrame } from './envelope.ts';
import { Flag, type Frame, FrameParser, FrameType, type OversizedFrame } from './frame.ts';
import type { Logger } from './logger.ts';
import type { RegisteredMethod } from './service.ts';
import { Code, toTtrpcError, TtrpcError } from './status.ts';
import { StreamInbox } from './stream.ts';
import type { Peer, Transport } from './transport.ts';

/** Calls that one peer may have running; one more is refused with RESOURCE_EXHAUSTED. */
const maxCalls = 16384;

/** All that a connection is made of, for another process to continue it over the same socket. Plain JSON. */
export interface ConnectionState {
  /** Base64 of what was received and not parsed yet. */
  readonly inbox: string;
  /** Base64 of what is still to be sent. It may begin in the middle of a frame. */
  readonly outbox: string;
  /** Calls that are to be made anew: the request frame whole in base64, and when its caller stops waiting. */
  readonly pending: readonly { readonly frame: string; readonly deadlineUnixMs?: number }[];
  readonly lastStreamId: number;
  /** Data of an oversized frame that is still to come and is to be passed over; left out when there is none. */
  readonly discardBytes?: number;
}

/** Whether a call may be abandoned and made again by whoever takes over: it only waits, and has changed nothing. */
export type HeldCalls = (service: string, method: string) => boolean;

/** What a connection asks of its server. */
export interface ConnectionOwner {
  readonly logger: Logger;
  /** @throws {TtrpcError} UNIMPLEMENTED */
  find(service: string, method: string): RegisteredMethod;
  /** A call has been answered, or the connection closed. */
  callEnded(): void;
  closed(connection: Connection): void;
}

interface Call {
  readonly streamId: number;
  readonly method: RegisteredMethod;
  readonly context: CallContext;
  /** The request, as it came. */
  readonly frame: Buffer;
  /** Undefined for a method whose client does not stream. */
  readonly requests: StreamInbox<unknown> | undefined;
}

/** The server's end of one connection: takes requests, runs handlers and sends their answers. */
export class Connection implements FrameHandler, ConnectionIdentity {
  readonly id: number;
  readonly #owner: ConnectionOwner;
  readonly #channel: Channel;
  readonly #calls = new Map<number, Call>();
  #lastStreamId = 0;
  #ended = false;
  #adopted: readonly { readonly frame: Buffer; readonly deadlineUnixMs: number | undefined }[] = [];

  constructor(id: number, transport: Transport, owner: ConnectionOwner, state?: ConnectionState) {
    this.id = id;
    this.#owner = owner;
    if (!state) {
      this.#channel = new Channel(transport, this);
      return;
    }
    this.#channel = new Channel(transport, this, {
      inbox: Buffer.from(state.inbox, 'base64'),
      outbox: Buffer.from(state.outbox, 'base64'),
      discardBytes: state.discardBytes ?? 0,
    });
    this.#lastStreamId = state.lastStreamId;
    this.#adopted = state.pending.map(({ frame, deadlineUnixMs }) => {
      return { frame: Buffer.from(frame, 'base64'), deadlineUnixMs };
    });
  }

  get peer(): Peer | undefined {
    return this.#channel.peer;
  }

  /** Begins to serve: first the calls that were handed over, then what comes. */
  start(): void {
    const adopted = this.#adopted;
    this.#adopted = [];
    this.#channel.hold(Hold.starting);
    this.#channel.start();
    for (const { frame, deadlineUnixMs } of adopted) {
      const parser = new FrameParser();
      parser.push(frame);
      const request = parser.next();
      if (request && 'data' in request) this.#dispatch(request, deadlineUnixMs);
    }
    this.#channel.release(Hold.starting);
  }

  /** Takes no requests until `thaw`. */
  freeze(): void {
    this.#channel.hold(Hold.frozen);
  }

  thaw(): void {
    this.#channel.speak();
    this.#channel.release(Hold.frozen);
  }

  /** Calls that are neither answered nor held. */
  runningCalls(held: HeldCalls): { service: string; method: string }[] {
    const running: { service: string; method: string }[] = [];
    for (const { method, context } of this.#calls.values()) {
      if (method.kind !== 'unary' || !held(context.service, context.method)) running.push(context);
    }
    return running;
  }

  /** At a frame boundary, with nothing to send, and waiting for nothing but held calls. */
  isQuiet(held: HeldCalls): boolean {
    return this.#channel.isQuiet && this.runningCalls(held).length === 0;
  }

  /**
   * Everything that another process needs to continue this connection. From here on this one sends nothing: a call that
   * ends now is answered by whoever takes over, or after `thaw`. Only for a frozen server whose running calls have ended.
   */
  export(): ConnectionState {
    const { inbox, outbox, discardBytes } = this.#channel.export();
    return {
      inbox: inbox.toString('base64'),
      outbox: outbox.toString('base64'),
      pending: [...this.#calls.values()].map(({ frame, context: { deadlineUnixMs } }) => ({
        frame: frame.toString('base64'),
        ...(deadlineUnixMs === undefined ? {} : { deadlineUnixMs }),
      })),
      lastStreamId: this.#lastStreamId,
      ...(discardBytes ? { discardBytes } : {}),
    };
  }

  /** Closes at once; calls that run are cancelled. */
  close(reason: string): void {
    this.#close(reason, false);
  }

  frame(frame: Frame | OversizedFrame): void {
    if (frame.type === FrameType.response) {
      this.#violated(`sent a response (stream ${frame.streamId}), which only servers do`);
    } else if (frame.type !== FrameType.request && frame.type !== FrameType.data) {
      // Left for the protocol's future, as in the reference.
      this.#owner.logger.debug('ttrpc: a frame of unknown type is passed over', {
        connection: this.id,
        type: frame.type,
      });
    } else if ('oversizedBytes' in frame) {
      this.#oversized(frame);
    } else if (frame.streamId % 2 !== 1) {
      this.#refuse(frame.streamId, Code.InvalidArgument, 'StreamID must be odd for client initiated streams');
    } else if (frame.type === FrameType.data) {
      this.#data(frame);
    } else if (frame.streamId <= this.#lastStreamId) {
      this.#refuse(frame.streamId, Code.InvalidArgument, 'StreamID cannot be re-used and must increment');
    } else {
      this.#lastStreamId = frame.streamId;
      this.#dispatch(frame, undefined);
    }
  }

  ended(): void {
    this.#ended = true;
    const truncated = new TtrpcError(Code.Cancelled, 'the client shut the connection before it ended its stream');
    for (const call of [...this.#calls.values()]) {
      if (call.requests && !call.requests.isEnded) this.#fail(call, truncated);
    }
    this.#closeWhenDone();
  }

  flushed(): void {
    this.#closeWhenDone();
  }

  closed(reason: string, isFault: boolean): void {
    const { logger } = this.#owner;
    logger[isFault ? 'warn' : 'debug']('ttrpc: connection closed', { connection: this.id, peer: this.peer, reason });
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    const error = new TtrpcError(Code.Cancelled, 'context canceled');
    for (const call of calls) {
      call.context.cancel(error);
      call.requests?.fail(error);
    }
    this.#owner.closed(this);
    this.#owner.callEnded();
  }

  #close(reason: string, isFault: boolean): void {
    if (!this.#channel.isOpen) return;
    this.#channel.close();
    this.closed(reason, isFault);
  }

  #violated(what: string): void {
    this.#close(`the peer ${what}`, true);
  }

  /** A client that has shut its side gets its answers, and then the connection is done. */
  #closeWhenDone(): void {
    if (this.#ended && this.#calls.size === 0 && this.#channel.isFlushed) this.close('the peer is done');
  }

  #refuse(streamId: number, code: Code, message: string): void {
    this.#channel.send(statusFrame(streamId, new TtrpcError(code, message)));
  }

  #oversized({ streamId, type, oversizedBytes }: OversizedFrame): void {
    const call = this.#calls.get(streamId);
    const error = oversized(oversizedBytes);
    if (call?.method.kind === 'unary') {
      this.#violated(`sent data for the unary call on stream ${streamId}`);
    } else if (call) {
      this.#fail(call, error);
    } else {
      if (type === FrameType.request && streamId > this.#lastStreamId) this.#lastStreamId = streamId;
      this.#channel.send(statusFrame(streamId, error));
    }
  }

  #dispatch(frame: Frame, adoptedDeadlineUnixMs: number | undefined): void {
    const { streamId } = frame;
    try {
      // The frame is kept for as long as the call runs, so a small one must not keep all that was read with it.
      const bytes = ownBytes(frame.bytes);
      const request = decodeRequest(bytes.subarray(bytes.length - frame.data.length));
      const method = this.#owner.find(request.service, request.method);
      if (this.#calls.size >= maxCalls) {
        throw new TtrpcError(Code.ResourceExhausted, `${maxCalls} calls of this connection are running already`);
      }
      const deadlineUnixMs = adoptedDeadlineUnixMs ?? deadlineOf(request);
      const context = new CallContext(request, this, this.peer, deadlineUnixMs);
      if (context.cancelled) throw context.cancelled;
      const streams = method.kind === 'clientStream' || method.kind === 'bidirectional';
      const requests = streams ? this.#openRequests(streamId, method.definition) : undefined;
      const call: Call = { streamId, method, context, frame: bytes, requests };
      this.#calls.set(streamId, call);
      if (requests) {
        if (request.payload.length) requests.push(request.payload as Buffer);
        if (!(frame.flags & Flag.remoteOpen)) requests.end();
      }
      this.#run(call, request.payload);
    } catch (error) {
      this.#channel.send(statusFrame(streamId, toTtrpcError(error)));
    }
  }

  #openRequests(streamId: number, definition: AnyMethod): StreamInbox<unknown> {
    const overflow = (error: TtrpcError) => {
      const call = this.#calls.get(streamId);
      if (call) this.#fail(call, error);
    };
    return new StreamInbox(this.#channel, (bytes) => decodePayload(definition, bytes), overflow);
  }

  #data(frame: Frame): void {
    const { streamId, flags, data } = frame;
    const call = this.#calls.get(streamId);
    if (!call) {
      // What crossed with the last frame of its stream is nobody's fault.
      if (streamId > this.#lastStreamId) this.#refuse(streamId, Code.InvalidArgument, 'StreamID is no longer active');
    } else if (call.method.kind === 'unary') {
      this.#violated(`sent data for the unary call on stream ${streamId}`);
    } else if (!call.requests) {
      // A client that streams nothing may still say that it is done.
      if (!(flags & Flag.noData))
        this.#fail(call, new TtrpcError(Code.InvalidArgument, 'the method takes one request'));
    } else if (call.requests.isEnded) {
      this.#fail(call, new TtrpcError(Code.InvalidArgument, 'data handling error: ttrpc: stream closed'));
    } else {
      if (!(flags & Flag.noData)) call.requests.push(ownBytes(data));
      if (flags & Flag.remoteClosed) call.requests.end();
    }
  }

  #run(call: Call, payload: Uint8Array): void {
    try {
      this.#serve(call, payload);
    } catch (error) {
      this.#fail(call, this.#explain(call, error));
    }
  }

  #serve(call: Call, payload: Uint8Array): void {
    const { method, context, requests } = call;
    if (method.kind === 'unary') {
      const answer = method.serve(decodePayload(method.definition, payload), context);
      if (answer instanceof Promise) {
        answer.then(
          (message) => this.#answer(call, message),
          (error: unknown) => this.#fail(call, this.#explain(call, error)),
        );
      } else {
        this.#answer(call, answer);
      }
    } else if (method.kind === 'serverStream') {
      void this.#stream(call, () => method.serve(decodePayload(method.definition, payload), context));
    } else if (method.kind === 'bidirectional') {
      void this.#stream(call, () => method.serve(requests as AsyncIterable<unknown>, context));
    } else {
      method.serve(requests as AsyncIterable<unknown>, context).then(
        (message) => this.#answer(call, message),
        (error: unknown) => this.#fail(call, this.#explain(call, error)),
      );
    }
  }

  async #stream(call: Call, serve: () => AsyncIterable<unknown>): Promise<void> {
    const codec = call.method.definition.response;
    try {
      for await (const message of serve()) {
        if (this.#calls.get(call.streamId) !== call) return;
        this.#channel.send(dataFrame(call.streamId, 0, { codec, message: message as object }));
        await this.#channel.drained();
      }
      if (this.#calls.get(call.streamId) !== call) return;
      this.#channel.send(dataFrame(call.streamId, Flag.remoteClosed | Flag.noData));
      this.#end(call);
    } catch (error) {
      this.#fail(call, this.#explain(call, error));
    }
  }

  #answer(call: Call, message: unknown): void {
    if (this.#calls.get(call.streamId) !== call) return;
    try {
      const frame = responseFrame(call.streamId, {
        codec: call.method.definition.response,
        message: message as object,
      });
      this.#channel.send(frame);
      this.#end(call);
    } catch (error) {
      this.#fail(call, this.#explain(call, error));
    }
  }

  /** Answers with the error, unless the call has been answered. */
  #fail(call: Call, error: TtrpcError): void {
    if (this.#calls.get(call.streamId) !== call) return;
    this.#channel.send(statusFrame(call.streamId, error));
    this.#end(call, error);
  }

  /** The call has been answered. Not to be told before that: it may let frames of the same stream be handled. */
  #end(call: Call, error?: TtrpcError): void {
    if (this.#calls.get(call.streamId) !== call) return;
    this.#calls.delete(call.streamId);
    call.context.finish();
    if (error) {
      call.context.cancel(error);
      call.requests?.fail(error);
    } else {
      void call.requests?.return();
    }
    this.#owner.callEnded();
    this.#closeWhenDone();
  }

  /** A handler's own status passes; anything else is a fault of ours, and its stack would be lost to the caller. */
  #explain({ context }: Call, error: unknown): TtrpcError {
    if (!(error instanceof TtrpcError) && !context.cancelled) {
      const { service, method } = context;
      this.#owner.logger.warn('ttrpc: a handler failed without choosing a status', { service, method, error });
    }
    return error instanceof TtrpcError ? error : (context.cancelled ?? toTtrpcError(error));
  }
}

/** Below this, what a view costs is counted against the buffer that it keeps alive. */
const copyBelowBytes = 16 * 1024;

function ownBytes(bytes: Buffer): Buffer {
  return bytes.length < copyBelowBytes && bytes.length * 2 < bytes.buffer.byteLength ? Buffer.from(bytes) : bytes;
}

function decodeRequest(data: Uint8Array): envelopes.Request {
  try {
    return envelopes.Request.decode(data);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new TtrpcError(Code.InvalidArgument, `unmarshal request error: ${error.message}`, { cause: error });
  }
}

function decodePayload(definition: AnyMethod, payload: Uint8Array): unknown {
  try {
    return definition.request.decode(payload) as unknown;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    throw new TtrpcError(Code.InvalidArgument, `ttrpc: error unmarshalling payload: ${error.message}`, {
      cause: error,
    });
  }
}

function deadlineOf({ timeoutNano }: envelopes.Request): number | undefined {
  return timeoutNano === 0n ? undefined : Date.now() + Number(timeoutNano) / 1e6;
}
