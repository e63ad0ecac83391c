import { Code, RpcError, toRpcError } from '../../grpc/index.ts';
import { Client, connect } from '../../ttrpc/index.ts';
import {
  type Init,
  namespaceKey,
  type ServiceDefinition,
  type MethodNames,
  type RequestOf,
  type ResponseOf,
} from '../../wire/index.ts';
import { socketPathOf } from './shim-info.ts';

/** How long a connection that was lost may take to be made anew, milliseconds. */
const reconnectMs = 1000;
/** A connection that was made anew and breaks sooner than this, milliseconds, is not made again: the shim does not want it. */
const steadyMs = 5000;

export interface ShimCallOptions {
  /** undefined: it waits until it is given up, or the shim is gone. */
  readonly timeoutMs: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** What the call is about, such as `container "web"`; for messages. */
  readonly about?: string;
}

/**
 * The connection to one shim. Should it break while the shim lives, it is made once more; a call that was under way then fails with
 * UNAVAILABLE.
 */
export class ShimConnection {
  readonly #address: string;
  readonly #name: string;
  readonly #namespace: string;
  readonly #gone = Promise.withResolvers<string>();
  #client: Client;
  #reconnecting: Promise<void> | undefined;
  #reconnectedAt = -Infinity;
  #isClosed = false;

  private constructor(address: string, name: string, namespace: string, client: Client) {
    this.#address = address;
    this.#name = name;
    this.#namespace = namespace;
    this.#client = client;
    this.#watch(client);
  }

  /**
   * @param name whose shim it is, for messages
   * @throws RpcError UNAVAILABLE when nobody listens, DEADLINE_EXCEEDED
   */
  static async open(
    address: string,
    o: { name: string; namespace: string; timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<ShimConnection> {
    try {
      return new ShimConnection(address, o.name, o.namespace, await dial(address, o.timeoutMs, o.signal));
    } catch (error) {
      throw shimError(error, `shim of sandbox ${o.name}`);
    }
  }

  /** Resolves with the reason when the shim is gone for good, or `close` was called. */
  get whenGone(): Promise<string> {
    return this.#gone.promise;
  }

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /** @throws RpcError the shim's status; DEADLINE_EXCEEDED; CANCELLED; UNAVAILABLE when it is gone */
  async call<Service extends ServiceDefinition, Name extends MethodNames<Service, 'unary'>>(
    service: Service,
    name: Name,
    request: Init<RequestOf<Service['methods'][Name]>>,
    { timeoutMs, signal, about = '' }: ShimCallOptions,
  ): Promise<ResponseOf<Service['methods'][Name]>> {
    try {
      if (!this.#client.isOpen) await this.#reconnecting;
      const metadata = { [namespaceKey]: this.#namespace };
      return await this.#client.call(service, name, request, { timeoutMs, signal, metadata });
    } catch (error) {
      throw shimError(error, `${name}${about === '' ? '' : ` of ${about}`} in the shim of sandbox ${this.#name}`);
    }
  }

  /** Lets go of the shim, which stays. */
  close(): void {
    this.#end('closed by this side');
    this.#client.close();
  }

  #end(reason: string): void {
    this.#isClosed = true;
    this.#gone.resolve(reason);
  }

  #watch(client: Client): void {
    client.whenClosed.then(
      (reason) => {
        if (this.#isClosed) return;
        if (performance.now() - this.#reconnectedAt < steadyMs) this.#end(reason);
        else this.#reconnecting = this.#reconnect(reason);
      },
      () => undefined,
    );
  }

  async #reconnect(reason: string): Promise<void> {
    try {
      const client = await dial(this.#address, reconnectMs);
      if (this.#isClosed) {
        client.close();
        return;
      }
      this.#client = client;
      this.#reconnectedAt = performance.now();
      this.#watch(client);
    } catch {
      this.#end(reason);
    }
  }
}

async function dial(address: string, timeoutMs: number, signal?: AbortSignal): Promise<Client> {
  const path = socketPathOf(address);
  if (path === undefined) throw new RpcError(Code.InvalidArgument, `"${address}" is no address of a unix socket`);
  return new Client(await connect(path, { timeoutMs, ...(signal === undefined ? {} : { signal }) }));
}

/** The RpcError with the code that the shim or the connection gave. */
function shimError(error: unknown, what: string): RpcError {
  if (error instanceof RpcError) return error;
  const { code, message } = toRpcError(error);
  return new RpcError(code, `${what}: ${message}`, { cause: error });
}
