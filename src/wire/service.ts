import type { Codec } from './codec.ts';

/** Which side sends a stream of messages instead of one: nobody, the client, the server, or both. */
export type MethodKind = 'unary' | 'clientStream' | 'serverStream' | 'bidirectional';

export interface MethodDefinition<Request, Response, Kind extends MethodKind> {
  readonly kind: Kind;
  readonly request: Codec<Request>;
  readonly response: Codec<Response>;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- codecs are invariant, so only `any` covers all methods
export type AnyMethod = MethodDefinition<any, any, MethodKind>;

/** One service as its .proto file declares it. */
export interface ServiceDefinition<
  Methods extends Readonly<Record<string, AnyMethod>> = Readonly<Record<string, AnyMethod>>,
> {
  /** Full name, such as "containerd.task.v3.Task". */
  readonly name: string;

  /** By the names that go on the wire, such as "CloseIO". */
  readonly methods: Methods;
}

export type RequestOf<Method extends AnyMethod> = Method['request'] extends Codec<infer Request> ? Request : never;

export type ResponseOf<Method extends AnyMethod> = Method['response'] extends Codec<infer Response> ? Response : never;

/** The names of a service's methods of one kind. */
export type MethodNames<Service extends ServiceDefinition, Kind extends MethodKind> = {
  [Name in keyof Service['methods'] & string]: Service['methods'][Name]['kind'] extends Kind ? Name : never;
}[keyof Service['methods'] & string];

export function service<Methods extends Readonly<Record<string, AnyMethod>>>(
  name: string,
  methods: Methods,
): ServiceDefinition<Methods> {
  return { name, methods };
}

export function method<Request, Response, Kind extends MethodKind>(
  kind: Kind,
  request: Codec<Request>,
  response: Codec<Response>,
): MethodDefinition<Request, Response, Kind> {
  return { kind, request, response };
}
