import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import type { Server as SocketServer } from 'node:net';
import type { Logger } from 'pino';
import { unlinkQuietly, type NativeAddon } from '../../linux/index.ts';
import { Code, listen, Server, TtrpcError } from '../../ttrpc/index.ts';
import { eventsV1, type forward, fromTimestamp, type protobuf, nowNanoseconds } from '../../wire/index.ts';

/** The metadata key under which shims of ours number their events. */
const sequenceKey = 'berth-event-sequence';
const socketMode = 0o600;

export interface ShimEvent {
  /** containerd's namespace. */
  readonly namespace: string;
  /** Such as "/tasks/exit". */
  readonly topic: string;
  /** When it happened; nanoseconds since 1970. */
  readonly at: bigint;
  readonly event: protobuf.Any;
  /** Of shims of ours: counts up for each shim, so that a second delivery is recognised. */
  readonly sequence: number | undefined;
  /** Of the process that sent it: the shim, or of other shims possibly a child. */
  readonly senderPid: number;
}

/**
 * Keeps an event. When it throws the shim is told that nobody has the event, and sends it again: our own until it is taken, each
 * before the next; others a few times.
 */
export type TakeEvent = (event: ShimEvent) => void | Promise<void>;

/** Where shims send their events: containerd.services.events.ttrpc.v1 on a unix socket, for root only. */
export class ShimEventsServer {
  readonly #path: string;
  readonly #server: Server;
  readonly #sockets: SocketServer;

  private constructor(path: string, server: Server, sockets: SocketServer) {
    this.#path = path;
    this.#server = server;
    this.#sockets = sockets;
  }

  /** Whoever calls this is the only one that may listen there: a socket that is there is a dead manager's, and is replaced. */
  static async listen(path: string, native: NativeAddon, log: Logger, take: TakeEvent): Promise<ShimEventsServer> {
    const logger = {
      debug: (message: string, fields?: object) => log.debug(fields ?? {}, message),
      warn: (message: string, fields?: object) => log.warn(fields ?? {}, message),
    };
    const server = new Server({ logger, authorize: (peer) => peer?.uid === 0 });
    server.register(eventsV1, {
      Forward: async (request, { metadata, peer }) => {
        const event = readEvent(request, metadata.get(sequenceKey), peer?.pid ?? 0);
        try {
          await take(event);
        } catch (error) {
          log.warn({ err: error, topic: event.topic }, 'an event of a shim cannot be kept: the shim sends it again');
          throw new TtrpcError(Code.Unavailable, 'the event could not be kept: send it again', { cause: error });
        }
        return {};
      },
    });
    unlinkQuietly(path);
    const peerOf = (fd: number) => native.peerCredentials(fd);
    const sockets = await listen(path, (transport) => void server.accept(transport), { peerOf });
    chmodSync(path, socketMode);
    return new ShimEventsServer(path, server, sockets);
  }

  /** Shims keep what they have to tell until somebody listens there again. */
  async close(): Promise<void> {
    const closed = once(this.#sockets, 'close');
    this.#sockets.close();
    this.#server.close();
    await closed;
    unlinkQuietly(this.#path);
  }
}

/** @throws TtrpcError INVALID_ARGUMENT, at which the shim gives the event up */
function readEvent({ envelope }: forward.ForwardRequest, sequence: string | undefined, senderPid: number): ShimEvent {
  if (!envelope?.event) throw new TtrpcError(Code.InvalidArgument, 'an event without an envelope or a payload');
  const { namespace, topic, timestamp, event } = envelope;
  return {
    namespace,
    topic,
    at: fromTimestamp(timestamp) ?? nowNanoseconds(),
    event,
    sequence: sequence !== undefined && /^[0-9]{1,15}$/.test(sequence) ? Number(sequence) : undefined,
    senderPid,
  };
}
