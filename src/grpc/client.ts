import { Client, credentials, type CallOptions as GrpcCallOptions, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { AnyMethod, Init, MethodNames, RequestOf, ResponseOf, ServiceDefinition } from '../wire/index.ts';
import { grpcMethod } from './definition.ts';
import { Code, RpcError, toRpcError } from './status.ts';

const maxMessageBytes = 16 * 1024 * 1024;

export interface CallOptions {
  /** Milliseconds after which the call fails with DEADLINE_EXCEEDED. Default: it waits for ever. */
  readonly timeoutMs?: number | undefined;

  /** Gives the call up with CANCELLED. */
  readonly signal?: AbortSignal | undefined;

  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * The client's end of gRPC on one unix socket. It connects when it is first used, and again when the connection was lost.
 *
 * @example
 * const client = new GrpcClient('/run/berth/berth.sock');
 * const { runtimeName } = await client.call(cri.RuntimeService, 'Version', {}, { timeoutMs: 2000 });
 */
export class GrpcClient {
  readonly path: string;
  readonly #client: Client;

  constructor(path: string) {
    this.path = path;
    this.#client = new Client(`unix:${path}`, credentials.createInsecure(), {
      'grpc.max_receive_message_length': maxMessageBytes,
      'grpc.max_send_message_length': maxMessageBytes,
      'grpc.default_authority': 'localhost',
      // Each client its own connection, so that closing one ends nobody else's.
      'grpc.use_local_subchannel_pool': 1,
    });
  }

  /** @throws {RpcError} */
  call<Service extends ServiceDefinition, Name extends MethodNames<Service, 'unary'>>(
    service: Service,
    name: Name,
    request: Init<RequestOf<Service['methods'][Name]>>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Service['methods'][Name]>> {
    type Response = ResponseOf<Service['methods'][Name]>;
    return new Promise<Response>((resolve, reject) => {
      const method = grpcMethod(service, name, service.methods[name] as AnyMethod);
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request as object,
        metadataOf(options),
        optionsOf(options),
        (error: ServiceError | null, value?: object) => {
          options.signal?.removeEventListener('abort', abort);
          if (error) reject(this.#explain(error));
          else resolve(value as Response);
        },
      );
      const abort = () => call.cancel();
      options.signal?.addEventListener('abort', abort);
      if (options.signal?.aborted === true) abort();
    });
  }

  /** A method whose server streams. Leaving the loop early gives the call up. @throws {RpcError} from the iteration */
  async *stream<Service extends ServiceDefinition, Name extends MethodNames<Service, 'serverStream'>>(
    service: Service,
    name: Name,
    request: Init<RequestOf<Service['methods'][Name]>>,
    options: CallOptions = {},
  ): AsyncGenerator<ResponseOf<Service['methods'][Name]>, void, undefined> {
    const method = grpcMethod(service, name, service.methods[name] as AnyMethod);
    const call = this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request as object,
      metadataOf(options),
      optionsOf(options),
    );
    const abort = () => call.cancel();
    options.signal?.addEventListener('abort', abort);
    if (options.signal?.aborted === true) abort();
    try {
      for await (const message of call) yield message as ResponseOf<Service['methods'][Name]>;
    } catch (error) {
      throw this.#explain(error);
    } finally {
      options.signal?.removeEventListener('abort', abort);
      call.on('error', () => undefined);
      call.cancel();
    }
  }

  /** A method whose client streams. @throws {RpcError} */
  upload<Service extends ServiceDefinition, Name extends MethodNames<Service, 'clientStream'>>(
    service: Service,
    name: Name,
    requests: AsyncIterable<Init<RequestOf<Service['methods'][Name]>>>,
    options: CallOptions = {},
  ): Promise<ResponseOf<Service['methods'][Name]>> {
    type Response = ResponseOf<Service['methods'][Name]>;
    const method = grpcMethod(service, name, service.methods[name] as AnyMethod);
    return new Promise<Response>((resolve, reject) => {
      let over = false;
      const call = this.#client.makeClientStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        metadataOf(options),
        optionsOf(options),
        (error: ServiceError | null, value?: object) => {
          over = true;
          options.signal?.removeEventListener('abort', abort);
          call.emit('drain');
          if (error) reject(this.#explain(error));
          else resolve(value as Response);
        },
      );
      const abort = () => call.cancel();
      options.signal?.addEventListener('abort', abort);
      if (options.signal?.aborted === true) abort();
      const send = async () => {
        for await (const request of requests) {
          if (over) return;
          if (!call.write(request as object)) await new Promise((next) => call.once('drain', next));
        }
        call.end();
      };
      send().catch((error: unknown) => {
        call.cancel();
        reject(toRpcError(error));
      });
    });
  }

  close(): void {
    this.#client.close();
  }

  #explain(error: unknown): RpcError {
    const explained = toRpcError(error);
    if (explained.code !== Code.Unavailable) return explained;
    return new RpcError(Code.Unavailable, `nobody answers on ${this.path}: is berthd running? (${explained.message})`, {
      cause: error,
    });
  }
}

function metadataOf({ metadata = {} }: CallOptions): Metadata {
  const result = new Metadata();
  for (const [key, value] of Object.entries(metadata)) result.set(key, value);
  return result;
}

function optionsOf({ timeoutMs }: CallOptions): GrpcCallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}
