import {
  type AnyMethod,
  type Codec,
  DecodeError,
  envelopes,
  type Init,
  type MethodNames,
  type RequestOf,
  type ResponseOf,
  type ServiceDefinition,
} from '../wire/index.ts';
import { Channel, type FrameHandler } from './channel.ts';
import { dataFrame, oversized, requestFrame } from './envelope.ts';
import { Flag, type Frame, FrameType, type OversizedFrame } from './frame.ts';
import type { MetadataInit } from './metadata.ts';
import { Code, toTtrpcError, TtrpcError } from './status.ts';
import { StreamInbox } from './stream.ts';
import type { Transport } from './transport.ts';

const lastStreamId = 0xffffffff;

/** The longest wait that a timer can be set for. */
const maxTimerMs = 2 ** 31 - 1;

export interface CallOptions {
  /** Milliseconds after which the call fails with DEADLINE_EXCEEDED, here and at the server. Default: it waits for ever. */
  readonly timeoutMs?: number | undefined;

  /** Gives the call up with CANCELLED. The server is not told: ttRPC has no way to. */
  readonly signal?: AbortSignal | undefined;

  readonly metadata?: MetadataInit | undefined;
}

/** A stream as its client sees it; what comes from the server is what iterating over it yields. */
export interface ClientStream<Request, Response> extends AsyncIterableIterator<Response> {
  /** Sends one message; resolves when there is room for another. */
  send(message: Init<Request>): Promise<void>;

  /** No message will follow. Messages of the server may. */
  closeSend(): void;

  /** The next message, or undefined at the end of the stream. For a method whose server does not stream: its answer. */
  receive(): Promise<Response | undefined>;

  /** Gives the stream up. */
  cancel(): void;
}

interface PendingCall {
  /** The whole answer of a unary call, or one more message of a stream. */
  response(response: envelopes.Response): void;
  data(frame: Frame): void;
  fail(error: TtrpcError): void;
}

/**
 * The client's end of a connection.
 *
 * @example
 * const client = new Client(await connect('/run/containerd/s/1', { timeoutMs: 1000 }));
 * const { pid } = await client.call(taskV3, 'Start', { id: 'web' }, { timeoutMs: 5000, metadata: { [namespaceKey]: 'k8s.io' } });
 */
export class Client implements FrameHandler {
  readonly #channel: Channel;
  readonly #calls = new Map<number, PendingCall>();
  readonly #closed = Promise.withResolvers<string>();
  #nextStreamId = 1;

  constructor(transport: Transport) {
    this.#channel = new Channel(transport, this);
    this.#channel.start();
  }

  /** Resolves with the reason once the connection is gone, whoever closed it. */
  get whenClosed(): Promise<string> {
    return this.#closed.promise;
  }

  get isOpen(): boolean {
    return this.#channel.isOpen;
  }

  /**
   * Makes a unary call.
   * @throws {TtrpcError} the server's status; DEADLINE_EXCEEDED; CANCELLED; UNAVAILABLE when the connection is gone, in which
   * case the server may or may not have done what was asked; RESOURCE_EXHAUSTED for a request of more than 4 MiB
   */
  call<Service extends ServiceDefinition, Name extends MethodNames<Service, 'unary'>>(
    service: Service,
    name: Name,
    request: Init<RequestOf<Service['methods'][Name]>>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Service['methods'][Name]>> {
    type Response = ResponseOf<Service['methods'][Name]>;
    const method = service.methods[name] as AnyMethod;
    return new Promise<Response>((resolve, reject) => {
      const settle = this.#watch(options, (error) => {
        this.#calls.delete(streamId);
        reject(error);
      });
      const streamId = this.#open(service, name, method, 0, request, options, {
        response: (response) => {
          settle();
          this.#calls.delete(streamId);
          try {
            resolve(responseOf(method.response as Codec<Response>, response));
          } catch (error) {
            reject(toTtrpcError(error));
          }
        },
        data: () => {
          settle();
          this.#calls.delete(streamId);
          reject(new TtrpcError(Code.Internal, 'protocol error: the server streams its answer to a unary call'));
        },
        fail: (error) => {
          settle();
          reject(error);
        },
      });
    });
  }

  /**
   * Opens a stream, for a method of which either side streams.
   * @param request what the method takes when only its server streams; else undefined, and `send` brings the messages
   * @throws {TtrpcError} as `call` does; what the server fails with is thrown where its messages are received
   */
  open<
    Service extends ServiceDefinition,
    Name extends MethodNames<Service, 'clientStream' | 'serverStream' | 'bidirectional'>,
  >(
    service: Service,
    name: Name,
    request: Init<RequestOf<Service['methods'][Name]>> | undefined,
    options: CallOptions = {},
  ): ClientStream<RequestOf<Service['methods'][Name]>, ResponseOf<Service['methods'][Name]>> {
    type Response = ResponseOf<Service['methods'][Name]>;
    const method = service.methods[name] as AnyMethod;
    let isOver = false;
    const finish = () => {
      isOver = true;
      settle();
      this.#calls.delete(streamId);
    };
    const fail = (error: TtrpcError) => {
      if (isOver) return;
      finish();
      inbox.fail(error);
    };
    const decode = (bytes: Buffer) => decodePayload(method.response as Codec<Response>, bytes);
    const inbox = new StreamInbox<Response>(this.#channel, decode, fail);
    const settle = this.#watch(options, fail);
    const flags = method.kind === 'serverStream' ? Flag.remoteClosed : Flag.remoteOpen;
    const streamId = this.#open(service, name, method, flags, request, options, {
      response: ({ status, payload }) => {
        if (status && status.code !== Code.Ok) {
          fail(new TtrpcError(status.code as Code, status.message));
          return;
        }
        finish();
        if (method.kind === 'clientStream' || payload.length) inbox.push(payload as Buffer);
        inbox.end();
      },
      data: ({ flags, data }) => {
        if (!(flags & Flag.noData)) inbox.push(data);
        if (!(flags & Flag.remoteClosed)) return;
        finish();
        inbox.end();
      },
      fail,
    });
    return new OpenStream(this.#channel, streamId, method, inbox, () => isOver, fail);
  }

  /** Closes the connection. Calls that are under way fail with UNAVAILABLE. */
  close(): void {
    if (!this.#channel.isOpen) return;
    this.#channel.close();
    this.closed('closed by this side');
  }

  frame(frame: Frame | OversizedFrame): void {
    const call = this.#calls.get(frame.streamId);
    // The call was given up, or the server answers twice: as in the reference, that harms no other call.
    if (!call) return;
    if ('oversizedBytes' in frame) {
      this.#calls.delete(frame.streamId);
      call.fail(oversized(frame.oversizedBytes));
    } else if (frame.type === FrameType.response) {
      const response = decodeResponse(frame.data);
      if (!(response instanceof TtrpcError)) {
        call.response(response);
        return;
      }
      this.#calls.delete(frame.streamId);
      call.fail(response);
    } else if (frame.type === FrameType.data) {
      call.data(frame);
    }
    // Other types are left for the protocol's future.
  }

  /** A server that sends no more answers no more. */
  ended(): void {
    if (!this.#channel.isOpen) return;
    this.#channel.close();
    this.closed('the server closed the connection');
  }

  closed(reason: string): void {
    const error = new TtrpcError(Code.Unavailable, `ttrpc: closed: ${reason}`);
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of calls) call.fail(error);
    this.#closed.resolve(reason);
  }

  flushed(): void {
    // Nothing waits for it: a call has been made once its request is queued.
  }

  #open(
    service: ServiceDefinition,
    name: string,
    method: AnyMethod,
    flags: number,
    request: unknown,
    options: CallOptions,
    call: PendingCall,
  ): number {
    const streamId = this.#nextStreamId;
    const refuse = (error: TtrpcError) => {
      // Not before this returns: the caller does not know the stream's id yet.
      queueMicrotask(() => call.fail(error));
      return streamId;
    };
    if (!this.#channel.isOpen) return refuse(new TtrpcError(Code.Unavailable, 'ttrpc: closed'));
    if (streamId > lastStreamId)
      return refuse(new TtrpcError(Code.Unavailable, 'ttrpc: the connection has no stream ids left'));
    if (options.signal?.aborted)
      return refuse(new TtrpcError(Code.Cancelled, 'the call was given up before it was made'));
    const payload =
      request === undefined ? undefined : { codec: method.request as Codec<unknown>, message: request as object };
    const { timeoutMs, metadata } = options;
    let frame: Buffer;
    try {
      frame = requestFrame(streamId, flags, { service: service.name, method: name, payload, timeoutMs, metadata });
    } catch (error) {
      if (!(error instanceof TtrpcError)) throw error;
      return refuse(error);
    }
    this.#nextStreamId += 2;
    this.#calls.set(streamId, call);
    this.#channel.send(frame);
    return streamId;
  }

  /** Watches deadline and signal; what it returns ends that. */
  #watch({ timeoutMs, signal }: CallOptions, fail: (error: TtrpcError) => void): () => void {
    let timer: NodeJS.Timeout | undefined;
    const give = (code: Code, message: string, cause?: unknown) => {
      settle();
      fail(new TtrpcError(code, message, { cause }));
    };
    const abort = () => give(Code.Cancelled, 'the call was given up', signal?.reason);
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    if (timeoutMs !== undefined && timeoutMs <= maxTimerMs) {
      timer = setTimeout(() => give(Code.DeadlineExceeded, `no answer within ${timeoutMs} ms`), Math.max(0, timeoutMs));
    }
    signal?.addEventListener('abort', abort);
    return settle;
  }
}

class OpenStream<Request, Response> implements ClientStream<Request, Response> {
  readonly #channel: Channel;
  readonly #streamId: number;
  readonly #method: AnyMethod;
  readonly #inbox: StreamInbox<Response>;
  readonly #isOver: () => boolean;
  readonly #fail: (error: TtrpcError) => void;
  #sendClosed: boolean;

  constructor(
    channel: Channel,
    streamId: number,
    method: AnyMethod,
    inbox: StreamInbox<Response>,
    isOver: () => boolean,
    fail: (error: TtrpcError) => void,
  ) {
    this.#channel = channel;
    this.#streamId = streamId;
    this.#method = method;
    this.#inbox = inbox;
    this.#isOver = isOver;
    this.#fail = fail;
    this.#sendClosed = method.kind === 'serverStream';
  }

  async send(message: Init<Request>): Promise<void> {
    if (this.#sendClosed || this.#isOver()) throw new TtrpcError(Code.FailedPrecondition, 'ttrpc: stream closed');
    const payload = { codec: this.#method.request as Codec<unknown>, message: message as object };
    this.#channel.send(dataFrame(this.#streamId, 0, payload));
    await this.#channel.drained();
  }

  closeSend(): void {
    if (this.#sendClosed) return;
    this.#sendClosed = true;
    if (!this.#isOver()) this.#channel.send(dataFrame(this.#streamId, Flag.remoteClosed | Flag.noData));
  }

  async receive(): Promise<Response | undefined> {
    return (await this.#inbox.next()).value;
  }

  cancel(): void {
    this.#fail(new TtrpcError(Code.Cancelled, 'the stream was given up'));
  }

  next(): Promise<IteratorResult<Response, undefined>> {
    return this.#inbox.next();
  }

  return(): Promise<IteratorResult<Response, undefined>> {
    this.cancel();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function decodeResponse(data: Buffer): envelopes.Response | TtrpcError {
  try {
    return envelopes.Response.decode(data);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return new TtrpcError(Code.Internal, `the server's answer is unreadable: ${error.message}`, { cause: error });
  }
}

function responseOf<T>(codec: Codec<T>, { status, payload }: envelopes.Response): T {
  if (status && status.code !== Code.Ok) throw new TtrpcError(status.code as Code, status.message);
  return decodePayload(codec, payload);
}

function decodePayload<T>(codec: Codec<T>, payload: Uint8Array): T {
  try {
    return codec.decode(payload);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const message = `the server sent something that is no ${codec.typeName}: ${error.message}`;
    throw new TtrpcError(Code.Internal, message, { cause: error });
  }
}
