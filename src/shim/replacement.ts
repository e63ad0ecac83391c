import { inspect } from 'node:util';
import { Code, TtrpcError, type Connection, type ConnectionState, type Server } from '../ttrpc/index.ts';
import type { AttachService } from './attach.ts';
import type { ShimContext } from './context.ts';
import { DescriptorTransport } from './descriptor-transport.ts';
import { descriptorsOf, handoverVariables, writeHandover, type ConnectionRecord, type HandedOver } from './handover.ts';
import type { Listener } from './listener.ts';
import { withinMs } from './lock.ts';
import type { Publisher } from './publisher.ts';
import { pollIn, pollOut } from './reactor.ts';

/** How long calls and announcements under way may take to end before a replacement is called off. */
const settleMs = 30_000;

interface Waker {
  fd: number;
  bits: number;
}

/** Calls that only wait: the next program image can make them anew and nobody notices. */
const heldCalls = new Set(['Wait', 'WaitSandbox', 'Upgrade']);

function isHeld(_service: string, method: string): boolean {
  return heldCalls.has(method);
}

/**
 * Puts another program image in the place of this one, in the same process: a newer version of the shim (upgrade) or the
 * keeper (sleep). Children, descriptors and peers' connections stay; see ARCHITECTURE.md.
 */
export class Replacement {
  readonly #context: ShimContext;
  readonly #server: Server;
  readonly #listener: Listener;
  readonly #publisher: Publisher;
  readonly #attach: AttachService;
  readonly #transports = new Map<Connection, DescriptorTransport>();
  #running: Promise<never> | undefined;
  #adopting: HandedOver['reason'] | undefined;

  constructor(context: ShimContext, server: Server, listener: Listener, publisher: Publisher, attach: AttachService) {
    this.#context = context;
    this.#server = server;
    this.#listener = listener;
    this.#publisher = publisher;
    this.#attach = attach;
  }

  /** Serves a new connection. */
  accept(transport: DescriptorTransport): void {
    this.#remember(this.#server.accept(transport), transport);
  }

  /** Goes on with the connections of the image before. */
  adopt({ connections, reason }: HandedOver): void {
    this.#adopting = reason;
    for (const { fd, state } of connections) {
      const transport = new DescriptorTransport(fd, this.#context.native, this.#context.reactor);
      this.#remember(this.#server.adopt(transport, state), transport);
    }
    this.#adopting = undefined;
  }

  /** True while calls are made anew after an upgrade: those that asked for it have got it. */
  get hasUpgraded(): boolean {
    return this.#adopting === 'upgrade';
  }

  #remember(connection: Connection | undefined, transport: DescriptorTransport): void {
    for (const known of this.#transports.keys())
      if (!this.#server.connections.has(known)) this.#transports.delete(known);
    if (connection !== undefined) this.#transports.set(connection, transport);
  }

  get hasConnections(): boolean {
    return this.#server.connections.size > 0;
  }

  /** Nothing is under way that a sleeper could not wait for. */
  get isQuiet(): boolean {
    const { activity, commands, reactor } = this.#context;
    return (
      this.#running === undefined &&
      this.#server.isQuiet(isHeld) &&
      !this.#publisher.busy &&
      activity.isIdle &&
      commands.running === 0 &&
      reactor.loop.isIdle()
    );
  }

  /** Becomes the version of the shim that is installed now. Only returns by throwing. */
  async upgrade(): Promise<never> {
    return await this.#replace('upgrade');
  }

  /** Becomes the keeper, until a request, an exit or an OOM kill. Only returns by throwing. */
  async sleep(wakeAfterMs: number): Promise<never> {
    return await this.#replace('sleep', wakeAfterMs);
  }

  async #replace(reason: 'upgrade' | 'sleep', wakeAfterMs = 0): Promise<never> {
    if (this.#running !== undefined) throw new TtrpcError(Code.Aborted, 'the shim is being replaced already');
    this.#running = this.#prepareAndExec(reason, wakeAfterMs);
    try {
      return await this.#running;
    } finally {
      this.#running = undefined;
    }
  }

  async #prepareAndExec(reason: 'upgrade' | 'sleep', wakeAfterMs: number): Promise<never> {
    const { activity } = this.#context;
    await this.#server.freeze(isHeld, settleMs);
    this.#listener.pause();
    try {
      if (!(await withinMs(activity.idle(), settleMs)))
        throw new TtrpcError(Code.Aborted, 'something of the shim does not come to its end');
      await this.#publisher.pause();
      return this.#exec(reason, wakeAfterMs);
    } catch (error) {
      this.#context.log.warn('the shim was not replaced', { reason, error: inspect(error) });
      this.#server.thaw();
      this.#listener.listen((transport) => {
        this.accept(transport);
      });
      this.#publisher.resume();
      throw error;
    }
  }

  /** From here to the exec nothing waits: what is read stays true. */
  #exec(reason: 'upgrade' | 'sleep', wakeAfterMs: number): never {
    const { record, reactor, native, config, records } = this.#context;
    const carriers: number[] = [];
    const { upgrades, wakes } = record;
    try {
      reactor.stop();
      records.flush();
      const connections = [...this.#server.connections].map((connection) => this.#export(connection));
      const wakeOnly = reason === 'sleep' ? this.#context.oom.wakers().map(({ fd }) => fd) : [];
      if (reason === 'upgrade') record.upgrades++;
      else record.wakes++;
      const handover: HandedOver = {
        record,
        listener: this.#listener.fd,
        connections,
        close: wakeOnly,
        pump: -1,
        reason,
        atMs: Date.now(),
      };
      const own = [...descriptorsOf(handover), ...wakeOnly];
      carriers.push(writeHandover(handover, native));
      carriers.push(reactor.loop.save());
      const variables = this.#variables(
        carriers,
        reason === 'sleep' ? this.#wakers(connections) : undefined,
        own,
        wakeAfterMs,
      );
      const kept = [...carriers, ...own, ...reactor.loop.descriptors()];
      return native.execve(config.selfPath, this.#arguments(), this.#environment(variables), kept);
    } catch (error) {
      for (const fd of carriers) native.close(fd);
      Object.assign(record, { upgrades, wakes });
      reactor.restart();
      throw error;
    }
  }

  /** What the next image, or the keeper when there is something to be woken by, finds in its environment. */
  #variables(
    carriers: number[],
    wakers: Waker[] | undefined,
    own: number[],
    wakeAfterMs: number,
  ): Record<string, string> {
    const [record, pump] = carriers;
    const variables: Record<string, string> = {
      [handoverVariables.record]: String(record),
      [handoverVariables.pump]: String(pump),
    };
    if (wakers === undefined) return variables;
    variables[handoverVariables.keeper] = '1';
    variables[handoverVariables.wake] = wakers.map(({ fd, bits }) => `${fd}:${bits}`).join(',');
    variables[handoverVariables.keep] = own.join(',');
    if (wakeAfterMs > 0) variables[handoverVariables.wakeAfterMs] = String(wakeAfterMs);
    return variables;
  }

  #export(connection: Connection): ConnectionRecord {
    const transport = this.#transports.get(connection);
    if (transport === undefined) throw new TtrpcError(Code.Internal, 'a connection without a descriptor');
    return { fd: transport.fd, state: connection.export() };
  }

  /** What wakes a sleeper: somebody who calls or connects, an OOM kill. (Exits do by themselves.) */
  #wakers(connections: ConnectionRecord[]): Waker[] {
    return [
      { fd: this.#listener.fd, bits: pollIn },
      ...connections.map(({ fd, state }) => ({ fd, bits: hasOutbox(state) ? pollIn | pollOut : pollIn })),
      ...this.#attach.wakers(),
      ...this.#context.oom.wakers(),
    ];
  }

  #arguments(): string[] {
    const { record, config } = this.#context;
    const flags = ['-namespace', record.namespace, '-id', record.id, '-address', record.managerAddress];
    return [config.selfPath, ...flags, ...(record.debug ? ['-debug'] : [])];
  }

  #environment(variables: Record<string, string>): string[] {
    return [
      ...this.#context.config.environment,
      ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
    ];
  }
}

function hasOutbox(state: ConnectionState): boolean {
  return state.outbox !== '';
}
