import type { ServiceDefinition } from '../wire/index.ts';
import { Connection, type ConnectionOwner, type ConnectionState, type HeldCalls } from './connection.ts';
import type { Logger } from './logger.ts';
import type { RegisteredMethod, ServiceHandlers } from './service.ts';
import { Code, TtrpcError } from './status.ts';
import type { Peer, Transport } from './transport.ts';

export interface ServerOptions {
  readonly logger: Logger;

  /**
   * Says whether a peer may connect; one that may not is closed before it is read from. Not asked again about a connection
   * that was handed over. Default: everybody may.
   */
  readonly authorize?: (peer: Peer | undefined) => boolean;
}

/**
 * Serves ttRPC on any number of connections.
 *
 * @example
 * const server = new Server({ logger, authorize: (peer) => peer?.uid === 0 });
 * server.register(taskV3, { State: ({ id, execId }) => tasks.state(id, execId) });
 * await listen('/run/berth/s/1', (transport) => server.accept(transport));
 */
export class Server {
  readonly #logger: Logger;
  readonly #authorize: (peer: Peer | undefined) => boolean;
  readonly #services = new Map<string, ReadonlyMap<string, RegisteredMethod>>();
  readonly #connections = new Set<Connection>();
  readonly #owner: ConnectionOwner;
  #lastConnectionId = 0;
  #frozen = false;
  #callEnded: (() => void) | undefined;

  constructor({ logger, authorize = () => true }: ServerOptions) {
    this.#logger = logger;
    this.#authorize = authorize;
    this.#owner = {
      logger,
      find: (service, method) => this.#find(service, method),
      callEnded: () => this.#callEnded?.(),
      closed: (connection) => this.#connections.delete(connection),
    };
  }

  get connections(): ReadonlySet<Connection> {
    return this.#connections;
  }

  /** Serves a service under its definition's name. A method without a handler is answered with UNIMPLEMENTED. */
  register<Service extends ServiceDefinition>(definition: Service, handlers: ServiceHandlers<Service>): void {
    if (this.#services.has(definition.name)) throw new Error(`service ${definition.name} is registered already`);
    const methods = new Map<string, RegisteredMethod>();
    for (const [name, method] of Object.entries(definition.methods)) {
      const handler = handlers[name] as ((...args: unknown[]) => never) | undefined;
      if (!handler) continue;
      const serve = (...args: unknown[]) => handler.apply(handlers, args);
      methods.set(name, { definition: method, kind: method.kind, serve });
    }
    this.#services.set(definition.name, methods);
  }

  /** Serves a new connection; undefined when its peer is refused. */
  accept(transport: Transport): Connection | undefined {
    if (!this.#authorize(transport.peer)) {
      this.#logger.warn('ttrpc: connection refused: its peer may not use this socket', { peer: transport.peer });
      transport.close();
      return undefined;
    }
    return this.#add(transport, undefined);
  }

  /** Continues a connection that another process served: pending calls are made anew, then come the bytes that waited. */
  adopt(transport: Transport, state: ConnectionState): Connection {
    return this.#add(transport, state);
  }

  /**
   * Prepares for another process to take over. Takes no requests from any connection (their bytes wait), and resolves once
   * all running calls have ended and been answered, except those that are held: unary calls that only wait. Then
   * `export` each connection.
   * @param deadlineMs how long the running calls may take, in milliseconds
   * @throws {TtrpcError} DEADLINE_EXCEEDED, naming the calls that still run; the server is thawed then
   */
  async freeze(held: HeldCalls, deadlineMs: number): Promise<void> {
    if (this.#frozen) throw new TtrpcError(Code.FailedPrecondition, 'the ttRPC server is frozen already');
    this.#frozen = true;
    for (const connection of this.#connections) connection.freeze();
    const deadline = Promise.withResolvers<'late'>();
    const timer = setTimeout(() => deadline.resolve('late'), deadlineMs);
    try {
      while (this.#running(held).length) {
        const progress = new Promise<void>((resolve) => (this.#callEnded = resolve));
        if ((await Promise.race([progress, deadline.promise])) !== 'late') continue;
        const names = this.#running(held).map(({ service, method }) => `${service}/${method}`);
        if (!names.length) break;
        this.thaw();
        const calls = [...new Set(names)].join(', ');
        throw new TtrpcError(Code.DeadlineExceeded, `calls still run after ${deadlineMs} ms: ${calls}`);
      }
    } finally {
      clearTimeout(timer);
      this.#callEnded = undefined;
    }
  }

  /** Goes on serving after a `freeze` that led to nothing, or to no exec. */
  thaw(): void {
    this.#frozen = false;
    for (const connection of this.#connections) connection.thaw();
  }

  /** Nothing is under way anywhere: the process may be replaced, or put to sleep, without anybody noticing. */
  isQuiet(held: HeldCalls): boolean {
    return [...this.#connections].every((connection) => connection.isQuiet(held));
  }

  /** Closes all connections. Whoever listens must stop first. */
  close(): void {
    for (const connection of [...this.#connections]) connection.close('the server is closing');
  }

  #add(transport: Transport, state: ConnectionState | undefined): Connection {
    const connection = new Connection(++this.#lastConnectionId, transport, this.#owner, state);
    this.#connections.add(connection);
    if (this.#frozen) connection.freeze();
    connection.start();
    return connection;
  }

  #running(held: HeldCalls): { service: string; method: string }[] {
    return [...this.#connections].flatMap((connection) => connection.runningCalls(held));
  }

  /** The texts are those of Go's ttRPC, which some clients look for. */
  #find(service: string, method: string): RegisteredMethod {
    const methods = this.#services.get(service);
    if (!methods) throw new TtrpcError(Code.Unimplemented, `service ${service}`);
    const found = methods.get(method);
    if (!found) throw new TtrpcError(Code.Unimplemented, `method ${method}`);
    return found;
  }
}
