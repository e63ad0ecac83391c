import type { MethodDefinition as GrpcMethod } from '@grpc/grpc-js';
import type { AnyMethod, Codec, Init, MethodDefinition, ServiceDefinition } from '../wire/index.ts';

/** What a handler is told about the call, besides the request. */
export interface CallContext {
  /** "/runtime.v1.RuntimeService/Version" */
  readonly path: string;

  /** Aborted when nobody waits for the answer any more: at the caller's deadline, or when it has gone. */
  readonly signal: AbortSignal;

  /** The value of a metadata key, lower case; undefined when the caller sent none. */
  metadata(key: string): string | undefined;
}

/** What serves a method by its kind: a stream is an async iterable, both ways. */
export type Handler<Method extends AnyMethod> =
  Method extends MethodDefinition<infer Request, infer Response, infer Kind>
    ? {
        unary: (request: Request, context: CallContext) => Init<Response> | Promise<Init<Response>>;
        clientStream: (requests: AsyncIterable<Request>, context: CallContext) => Promise<Init<Response>>;
        serverStream: (request: Request, context: CallContext) => AsyncIterable<Init<Response>>;
        bidirectional: (requests: AsyncIterable<Request>, context: CallContext) => AsyncIterable<Init<Response>>;
      }[Kind]
    : never;

/** What serves a service. A method that is left out is answered with UNIMPLEMENTED. */
export type ServiceHandlers<Service extends ServiceDefinition> = {
  readonly [Name in keyof Service['methods']]?: Handler<Service['methods'][Name]>;
};

/** One method, as grpc-js wants to have it described. */
export function grpcMethod(service: ServiceDefinition, name: string, method: AnyMethod): GrpcMethod<object, object> {
  const { request, response } = method as { request: Codec<object>; response: Codec<object> };
  return {
    path: `/${service.name}/${name}`,
    requestStream: method.kind === 'clientStream' || method.kind === 'bidirectional',
    responseStream: method.kind === 'serverStream' || method.kind === 'bidirectional',
    requestSerialize: (message) => request.encode(message),
    requestDeserialize: (bytes) => request.decode(bytes),
    responseSerialize: (message) => response.encode(message),
    responseDeserialize: (bytes) => response.decode(bytes),
  };
}
