import { createServer, type Server as NetServer, type Socket } from 'node:net';
import type { EventEmitter } from 'node:events';
import type { Writable } from 'node:stream';
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type UntypedHandleCall,
} from '@grpc/grpc-js';
import type { AnyMethod, ServiceDefinition } from '../wire/index.ts';
import { type CallContext, grpcMethod, type ServiceHandlers } from './definition.ts';
import { Code, RpcError, toRpcError } from './status.ts';

type AnyCall =
  | ServerUnaryCall<object, object>
  | ServerReadableStream<object, object>
  | ServerWritableStream<object, object>
  | ServerDuplexStream<object, object>;

/** How large one message may be; kubelet and crictl allow the same. */
const maxMessageBytes = 16 * 1024 * 1024;

/**
 * Told of each call: when it begins, and what became of it. What it throws at the beginning is the call's answer.
 * Returns what is called at the end, with the error if there was one.
 */
export type CallObserver = (context: CallContext, request: unknown) => (error: RpcError | undefined) => void;

export interface GrpcServerOptions {
  /** Default: nobody is told. */
  readonly observe?: CallObserver;

  /** Whether a connection may stay; one that may not is closed before it is read from. Default: all may. */
  readonly authorize?: (socket: Socket) => boolean;
}

/**
 * Serves gRPC on unix sockets.
 *
 * @example
 * const server = new GrpcServer({ authorize: (socket) => uidOf(socket) === 0 });
 * server.register(version.Version, { Version: () => ({ version: '1.0' }) });
 * const listening = await server.listen('/run/berth/berth.sock');
 */
export class GrpcServer {
  readonly #server = new Server({
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  });
  readonly #observe: CallObserver;
  readonly #authorize: (socket: Socket) => boolean;
  readonly #listeners: NetServer[] = [];
  readonly #sockets = new Set<Socket>();

  constructor({ observe = () => () => undefined, authorize = () => true }: GrpcServerOptions = {}) {
    this.#observe = observe;
    this.#authorize = authorize;
  }

  /** Serves a service under its definition's name. A method without a handler is answered with UNIMPLEMENTED. */
  register<Service extends ServiceDefinition>(definition: Service, handlers: ServiceHandlers<Service>): void {
    const described: Record<string, ReturnType<typeof grpcMethod>> = {};
    const implementation: Record<string, UntypedHandleCall> = {};
    for (const [name, method] of Object.entries(definition.methods)) {
      described[name] = grpcMethod(definition, name, method);
      const handler = handlers[name] as ((...args: unknown[]) => unknown) | undefined;
      const path = `/${definition.name}/${name}`;
      const serve =
        handler === undefined
          ? () => {
              throw new RpcError(Code.Unimplemented, `berthd does not implement ${path.slice(1)}`);
            }
          : (...args: unknown[]) => handler.apply(handlers, args);
      implementation[name] = this.#adapt(path, method, serve);
    }
    this.#server.addService(described, implementation);
  }

  /**
   * Listens; the socket's file must not be there. Connections that were made stay when the listener is closed.
   * @throws the system's error
   */
  listen(path: string): Promise<NetServer> {
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    const listener = createServer((socket) => {
      if (!this.#authorize(socket)) {
        socket.destroy();
        return;
      }
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
      injector.injectConnection(socket);
    });
    this.#listeners.push(listener);
    return new Promise((resolve, reject) => {
      listener.once('error', reject);
      listener.listen(path, () => {
        listener.removeListener('error', reject);
        resolve(listener);
      });
    });
  }

  /** Takes no new connections, and cuts those that there are. Calls that run are aborted. */
  close(): void {
    for (const listener of this.#listeners) listener.close();
    this.#server.forceShutdown();
    for (const socket of this.#sockets) socket.destroy();
  }

  #adapt(path: string, method: AnyMethod, serve: (...args: unknown[]) => unknown): UntypedHandleCall {
    switch (method.kind) {
      case 'unary':
        return ((call, callback) => {
          this.#answer(path, call, call.request, callback, (context) => serve(call.request, context));
        }) as handleUnaryCall<object, object>;
      case 'clientStream':
        return (
          call: ServerReadableStream<object, object>,
          callback: (error: object | null, value?: object) => void,
        ) => {
          this.#answer(path, call, undefined, callback, (context) => serve(call, context));
        };
      case 'serverStream':
        return ((call) => {
          this.#stream(path, call, call.request, (context) => serve(call.request, context));
        }) as handleServerStreamingCall<object, object>;
      case 'bidirectional':
        return (call: ServerDuplexStream<object, object>) => {
          this.#stream(path, call, undefined, (context) => serve(call, context));
        };
    }
  }

  #answer(
    path: string,
    call: AnyCall,
    request: unknown,
    callback: (error: object | null, value?: object) => void,
    serve: (context: CallContext) => unknown,
  ): void {
    const context = contextOf(path, call);
    let ended: (error: RpcError | undefined) => void = () => undefined;
    const run = async () => {
      ended = this.#observe(context, request);
      return (await serve(context)) as object;
    };
    run().then(
      (value) => {
        ended(undefined);
        callback(null, value);
      },
      (thrown: unknown) => {
        const error = toRpcError(thrown);
        ended(error);
        callback({ code: error.code, details: error.message });
      },
    );
  }

  #stream(
    path: string,
    call: ServerWritableStream<object, object> | ServerDuplexStream<object, object>,
    request: unknown,
    serve: (context: CallContext) => unknown,
  ): void {
    const context = contextOf(path, call);
    let ended: (error: RpcError | undefined) => void = () => undefined;
    const run = async () => {
      ended = this.#observe(context, request);
      for await (const message of serve(context) as AsyncIterable<object>) {
        if (context.signal.aborted) return;
        if (!call.write(message)) await drained(call, context.signal);
      }
    };
    run().then(
      () => {
        ended(undefined);
        call.end();
      },
      (thrown: unknown) => {
        const error = toRpcError(thrown);
        ended(error);
        call.emit('error', { code: error.code, details: error.message });
      },
    );
  }
}

function contextOf(path: string, call: AnyCall): CallContext {
  const controller = new AbortController();
  (call as EventEmitter).on('cancelled', () => controller.abort(new RpcError(Code.Cancelled, 'the caller has gone')));
  return {
    path,
    signal: controller.signal,
    metadata: (key) => {
      const [value] = call.metadata.get(key);
      return value === undefined ? undefined : value.toString();
    },
  };
}

/** Resolves when there is room for more, or nobody who would read it. */
function drained(call: Writable, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      call.removeListener('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
