import { once } from 'node:events';
import { rmSync } from 'node:fs';
import type { Server as SocketServer } from 'node:net';
import { Code, listen, Server, TtrpcError } from '../../src/ttrpc/index.ts';
import { type Codec, eventsV1, fromTimestamp, type protobuf, unpackAny } from '../../src/wire/index.ts';
import { quietLogger } from './quiet-logger.ts';
import { patience } from './until.ts';

/** One event as it came. */
export interface ReceivedEvent {
  /** Such as "/tasks/exit". */
  topic: string;
  /** containerd's namespace. */
  namespace: string;
  /** When the shim says that it happened; nanoseconds since 1970. */
  atUnixNanos: bigint;
  /** When it arrived here; nanoseconds since 1970, exact to some microseconds. */
  receivedUnixNanos: bigint;
  payload: protobuf.Any;
  /** The number that our shim gives each of its events, so that a second delivery is recognised; undefined from other shims. */
  sequence: number | undefined;
}

interface Waiter {
  matches: (event: ReceivedEvent) => boolean;
  resolve: (event: ReceivedEvent) => void;
}

/**
 * Where a shim sends its events: the ttRPC events service that containerd has, on a unix socket, and nothing else of containerd.
 * It keeps all that comes, in order.
 *
 * @example
 * await using sink = await EventsSink.listen(`${folder}/events.sock`);
 * // … start a shim with `eventsAddress: sink.path`
 * const exit = await sink.next((event) => event.topic === '/tasks/exit');
 */
export class EventsSink implements AsyncDisposable {
  readonly path: string;
  readonly #server: Server;
  readonly #sockets: SocketServer;
  readonly #waiters = new Set<Waiter>();
  /** All events so far, in the order of their arrival. */
  readonly received: ReceivedEvent[] = [];
  /** While this is set every event is refused with it, as a receiver does that cannot store it. */
  refusal: string | undefined;

  private constructor(path: string, server: Server, sockets: SocketServer) {
    this.path = path;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** Listens at `path` (at most 107 bytes). A socket that an earlier sink left there is replaced. */
  static async listen(path: string): Promise<EventsSink> {
    rmSync(path, { force: true });
    const server = new Server({ logger: quietLogger });
    const sockets = await listen(path, (transport) => server.accept(transport));
    const sink = new EventsSink(path, server, sockets);
    server.register(eventsV1, {
      Forward: ({ envelope }, { metadata }) => {
        const receivedUnixNanos = nowUnixNanos();
        if (sink.refusal !== undefined) throw new TtrpcError(Code.Unavailable, sink.refusal);
        if (!envelope?.event) throw new TtrpcError(Code.InvalidArgument, 'an event without an envelope or a payload');
        const { topic, namespace, timestamp, event: payload } = envelope;
        const atUnixNanos = fromTimestamp(timestamp) ?? 0n;
        const sequence = metadata.get('berth-event-sequence');
        const number = sequence === undefined ? undefined : Number(sequence);
        sink.#add({ topic, namespace, atUnixNanos, receivedUnixNanos, payload, sequence: number });
        return {};
      },
    });
    return sink;
  }

  /** The topics of all events so far, of one container if its id is given. */
  topics(containerId?: string): string[] {
    return this.received
      .filter((event) => containerId === undefined || mentions(event, containerId))
      .map(({ topic }) => topic);
  }

  /** The first event, past or future, that matches. Fails after `withinMilliseconds` (default 30,000) times `patience`. */
  async next(matches: (event: ReceivedEvent) => boolean, withinMilliseconds = 30_000): Promise<ReceivedEvent> {
    const past = this.received.find(matches);
    if (past) return past;
    const { promise, resolve, reject } = Promise.withResolvers<ReceivedEvent>();
    const waiter = { matches, resolve };
    const limit = withinMilliseconds * patience;
    const deadline = setTimeout(() => {
      const topics = this.topics().join(' ') || 'none';
      reject(new Error(`no such event within ${limit} ms; there were: ${topics}`));
    }, limit);
    this.#waiters.add(waiter);
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
      this.#waiters.delete(waiter);
    }
  }

  /** The first event of that topic whose payload is of that type and matches. */
  async nextOf<T>(
    topic: string,
    codec: Codec<T>,
    matches: (payload: T) => boolean = () => true,
    withinMilliseconds?: number,
  ): Promise<T & { received: ReceivedEvent }> {
    const isIt = (event: ReceivedEvent) => event.topic === topic && matches(unpackAny(codec, event.payload));
    const received = await this.next(isIt, withinMilliseconds);
    return { ...unpackAny(codec, received.payload), received };
  }

  /** Goes away as a daemon that dies does: the socket is there no longer, connections are cut. */
  async close(): Promise<void> {
    const closed = once(this.#sockets, 'close');
    this.#sockets.close();
    this.#server.close();
    await closed;
    rmSync(this.path, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#sockets.listening) await this.close();
  }

  #add(event: ReceivedEvent): void {
    this.received.push(event);
    for (const waiter of this.#waiters) if (waiter.matches(event)) waiter.resolve(event);
  }
}

/** The wall clock, finer than Date.now(). */
export function nowUnixNanos(): bigint {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}

/** Whether a payload names the container: all task events begin with its id as field 1. */
function mentions({ payload }: ReceivedEvent, containerId: string): boolean {
  const id = Buffer.from(containerId);
  const head = Buffer.concat([Buffer.from([0x0a, id.length]), id]);
  return Buffer.from(payload.value).subarray(0, head.length).equals(head);
}
