import { inspect } from 'node:util';
import type { NativeAddon } from '../linux/index.ts';
import { Client, Code, TtrpcError } from '../ttrpc/index.ts';
import { eventsV1, namespaceKey, toTimestamp } from '../wire/index.ts';
import { DescriptorTransport } from './descriptor-transport.ts';
import type { Events } from './events.ts';
import type { Log } from './log.ts';
import type { Reactor } from './reactor.ts';
import type { EventRecord } from './record.ts';

const forwardTimeoutMs = 5000;
const firstRetryMs = 50;
const lastRetryMs = 2000;
/** How long a connection to the receiver is kept when there is nothing to tell. */
const keepOpenMs = 2000;

/**
 * Takes events to the manager, one after the other, each until it is acknowledged. A receiver that is away is tried for as long
 * as it is away: what it missed comes, in order, when it is back.
 */
export class Publisher {
  readonly #events: Events;
  readonly #namespace: string;
  readonly #address: string;
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #log: Log;
  #client: Client | undefined;
  #busy = false;
  #paused = false;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = firstRetryMs;
  #idle: NodeJS.Timeout | undefined;
  #onIdle: (() => void)[] = [];

  constructor(events: Events, namespace: string, address: string, native: NativeAddon, reactor: Reactor, log: Log) {
    this.#events = events;
    this.#namespace = namespace;
    this.#address = address.replace(/^unix:\/\//, '');
    this.#native = native;
    this.#reactor = reactor;
    this.#log = log;
  }

  /** True while an event is on its way. */
  get busy(): boolean {
    return this.#busy;
  }

  /** True when the last attempt to tell something failed. */
  get receiverIsAway(): boolean {
    return this.#retry !== undefined;
  }

  /** There is something to tell, or a sign that the receiver is back. */
  poke(): void {
    if (this.#address === '' || this.#paused) return;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    this.#retryMs = firstRetryMs;
    this.#run();
  }

  /** Resolves when nothing is on its way, and until `resume` nothing more is sent. */
  async pause(): Promise<void> {
    this.#paused = true;
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.#busy) {
      await new Promise<void>((resolve) => {
        this.#onIdle.push(resolve);
      });
    }
    this.#disconnect();
  }

  resume(): void {
    this.#paused = false;
    this.poke();
  }

  #run(): void {
    if (this.#paused || this.#busy || this.#retry !== undefined) return;
    const event = this.#events.first;
    if (event === undefined) return;
    this.#busy = true;
    this.#forward(event)
      .then(
        () => {
          this.#events.acknowledge(event);
          this.#retryMs = firstRetryMs;
        },
        (error: unknown) => {
          if (isPermanent(error)) this.#drop(event, error);
          else this.#failed(error);
        },
      )
      .finally(() => {
        this.#busy = false;
        for (const resolve of this.#onIdle.splice(0)) resolve();
        if (this.#events.first === undefined) this.#closeWhenIdle();
        this.#run();
      })
      .catch((error: unknown) => {
        this.#log.error('events cannot be told', { error: inspect(error) });
      });
  }

  async #forward(event: EventRecord): Promise<void> {
    clearTimeout(this.#idle);
    this.#client ??= new Client(
      new DescriptorTransport(this.#native.connectUnix(this.#address), this.#native, this.#reactor),
    );
    const envelope = {
      timestamp: toTimestamp(BigInt(event.at)),
      namespace: this.#namespace,
      topic: event.topic,
      event: { typeUrl: event.type, value: Buffer.from(event.value, 'base64') },
    };
    // The sequence lets a receiver that knows it recognise an event whose acknowledgement was lost.
    const metadata = { [namespaceKey]: this.#namespace, 'berth-event-sequence': String(event.sequence) };
    await this.#client.call(eventsV1, 'Forward', { envelope }, { metadata, timeoutMs: forwardTimeoutMs });
  }

  /** The receiver will never take this one; those after it must not wait for it. */
  #drop(event: EventRecord, error: unknown): void {
    this.#log.error('the receiver refuses an event for good', { topic: event.topic, error: inspect(error) });
    this.#events.acknowledge(event);
  }

  #failed(error: unknown): void {
    this.#disconnect();
    if (this.#retryMs === firstRetryMs) {
      this.#log.debug('the receiver of events is away; trying until it is back', {
        error: error instanceof Error ? error.message : String(error),
      });
    }
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#run();
    }, this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, lastRetryMs);
  }

  #closeWhenIdle(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (!this.#busy) this.#disconnect();
    }, keepOpenMs);
  }

  #disconnect(): void {
    clearTimeout(this.#idle);
    this.#client?.close();
    this.#client = undefined;
  }
}

function isPermanent(error: unknown): boolean {
  return error instanceof TtrpcError && (error.code === Code.InvalidArgument || error.code === Code.Unimplemented);
}
