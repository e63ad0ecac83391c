import type { AnyMethod, Init, MethodDefinition, ServiceDefinition } from '../wire/index.ts';
import type { CallContext } from './call-context.ts';

/** What serves a unary method. */
export type UnaryHandler<Request, Response> = (
  request: Request,
  context: CallContext,
) => Init<Response> | Promise<Init<Response>>;

/** What serves a method by its kind: a stream is an async iterable, both ways. */
export type Handler<Method extends AnyMethod> =
  Method extends MethodDefinition<infer Request, infer Response, infer Kind>
    ? {
        unary: UnaryHandler<Request, Response>;
        clientStream: (requests: AsyncIterable<Request>, context: CallContext) => Promise<Init<Response>>;
        serverStream: (request: Request, context: CallContext) => AsyncIterable<Init<Response>>;
        bidirectional: (requests: AsyncIterable<Request>, context: CallContext) => AsyncIterable<Init<Response>>;
      }[Kind]
    : never;

/** What serves a service. A method that is left out is answered with UNIMPLEMENTED. */
export type ServiceHandlers<Service extends ServiceDefinition> = {
  readonly [Name in keyof Service['methods']]?: Handler<Service['methods'][Name]>;
};

/** A method that is served, without its types: connections handle all alike. */
export type RegisteredMethod =
  | { readonly definition: AnyMethod; readonly kind: 'unary'; readonly serve: UnaryHandler<unknown, unknown> }
  | {
      readonly definition: AnyMethod;
      readonly kind: 'clientStream';
      readonly serve: (requests: AsyncIterable<unknown>, context: CallContext) => Promise<unknown>;
    }
  | {
      readonly definition: AnyMethod;
      readonly kind: 'serverStream';
      readonly serve: (request: unknown, context: CallContext) => AsyncIterable<unknown>;
    }
  | {
      readonly definition: AnyMethod;
      readonly kind: 'bidirectional';
      readonly serve: (requests: AsyncIterable<unknown>, context: CallContext) => AsyncIterable<unknown>;
    };
