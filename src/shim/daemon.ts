import { join } from 'node:path';
import { inspect } from 'node:util';
import { unlinkQuietly, type NativeAddon } from '../linux/index.ts';
import { Server } from '../ttrpc/index.ts';
import { sandboxV1, shimV1, taskV2, taskV3 } from '../wire/index.ts';
import { Activity } from './activity.ts';
import { AttachService } from './attach.ts';
import { BerthService } from './berth-service.ts';
import { ShimCommands } from './commands.ts';
import type { ShimConfig } from './config.ts';
import { containerEvents } from './container-events.ts';
import { Containers } from './containers.ts';
import type { ShimContext } from './context.ts';
import type { DescriptorTransport } from './descriptor-transport.ts';
import { Events } from './events.ts';
import { Exits } from './exits.ts';
import { keeperEventKinds, type HandedOver } from './handover.ts';
import { IdleWatch } from './idle.ts';
import { Listener } from './listener.ts';
import { Log } from './log.ts';
import { Loggers } from './logger-process.ts';
import { OomWatcher } from './oom.ts';
import { Publisher } from './publisher.ts';
import { Reactor, type OutputObserver } from './reactor.ts';
import { RecordWriter } from './record-writer.ts';
import { shimRecordFile, type ShimRecord } from './record.ts';
import { Replacement } from './replacement.ts';
import { SandboxHolder } from './sandbox-holder.ts';
import { SandboxService } from './sandbox-service.ts';
import { StdioFactory } from './stdio.ts';
import { TaskService } from './task-service.ts';

/** How long a shim that was told to go waits for its last events to be delivered, while their receiver takes them. */
const farewellMs = 5000;

/** The running shim: everything that serves, wired together. */
export class Daemon {
  readonly #context: ShimContext;
  readonly #reactor: Reactor;
  readonly #server: Server;
  readonly #listener: Listener;
  readonly #publisher: Publisher;
  readonly #containers: Containers;
  readonly #sandboxes: SandboxHolder;
  readonly #attach: AttachService;
  readonly #replacement: Replacement;
  readonly #idle: IdleWatch;
  #leaving = false;

  constructor(record: ShimRecord, listener: number, native: NativeAddon, config: ShimConfig, handedOver?: HandedOver) {
    const log = new Log(join(record.bundle, 'log'), record.debug, { id: record.id, namespace: record.namespace });
    const exits = new Exits(handedOver?.endedChild);
    const loop = native.createLoop(handedOver?.pump);
    const reactor = new Reactor(loop, exits, () => record.nextLoopId++);
    const records = new RecordWriter(log);
    const save = (): void => {
      records.shim(record);
    };
    const now = (): bigint => BigInt(Date.now()) * 1_000_000n;
    const events = new Events(record, save, () => this.#publisher.poke(), now);
    const loggers = new Loggers(native, reactor, exits, config.children, record.namespace);
    this.#reactor = reactor;
    this.#context = {
      config,
      record,
      native,
      reactor,
      exits,
      events,
      log,
      records,
      save,
      saveNow: () => {
        records.shim(record);
        records.flush();
      },
      now,
      activity: new Activity(),
      commands: new ShimCommands(native, exits, config.children),
      stdio: new StdioFactory(native, reactor, loggers),
      oom: new OomWatcher(native, reactor, (containerId) => {
        events.publish(containerEvents.oom(containerId));
      }),
    };
    this.#publisher = new Publisher(events, record.namespace, record.eventsAddress, native, reactor, log);
    this.#sandboxes = new SandboxHolder(this.#context);
    this.#containers = new Containers(this.#context, (spec) => this.#sandboxes.adapt(spec));
    this.#attach = new AttachService(this.#context, (id, execId) => {
      const container = this.#containers.find(id);
      return execId === '' ? container?.init : container?.execs.find(execId);
    });
    const ownUid = process.getuid?.();
    this.#server = new Server({
      logger: {
        debug: (text) => {
          log.debug(text);
        },
        warn: (text, fields) => {
          log.warn(`${text} ${JSON.stringify(fields ?? {})}`);
        },
      },
      authorize: (peer) => peer !== undefined && (peer.uid === 0 || peer.uid === ownUid),
    });
    this.#listener = new Listener(listener, native, reactor);
    this.#replacement = new Replacement(this.#context, this.#server, this.#listener, this.#publisher, this.#attach);
    this.#idle = new IdleWatch(this.#context, this.#replacement, () => {
      this.#leave();
    });
    this.#register();
    this.#begin(handedOver);
  }

  #register(): void {
    const shutdown = (): void => {
      this.#leave();
    };
    const task = new TaskService(this.#containers, this.#context, shutdown).handlers();
    this.#server.register(taskV3, task);
    this.#server.register(taskV2, task);
    this.#server.register(
      sandboxV1,
      new SandboxService(this.#sandboxes, this.#containers, this.#context, shutdown).handlers(),
    );
    this.#server.register(
      shimV1,
      new BerthService(this.#containers, this.#context, this.#attach, this.#replacement).handlers(),
    );
  }

  #begin(handedOver: HandedOver | undefined): void {
    const { log } = this.#context;
    const observer: OutputObserver = {
      spooling: (id, active) => {
        this.#noteSpooling(id, active);
      },
      sinkError: (id, errno) => {
        log.error('output cannot be written and is dropped', { output: id, errno });
      },
      clientGone: (id, reason) => {
        this.#attach.left(id);
        log.debug('an attach client is gone', { client: id, reason });
      },
      failed: (error) => {
        log.error('an event could not be handled', { error: inspect(error) });
      },
    };
    for (const { kind, id, value } of handedOver?.keeperEvents ?? []) {
      if (kind === keeperEventKinds.spooling) observer.spooling(id, value !== 0);
      else if (kind === keeperEventKinds.sinkError) observer.sinkError(id, value);
      else if (kind === keeperEventKinds.clientGone) observer.clientGone(id, `${value}`);
    }
    this.#reactor.start(observer, () => {
      this.#idle.active();
    });
    if (handedOver === undefined) this.#context.saveNow();
    this.#sandboxes.sandbox?.resume();
    this.#containers.resume();
    this.#attach.resume();
    if (handedOver !== undefined) this.#replacement.adopt(handedOver);
    this.#listener.listen((transport) => {
      this.#accept(transport);
    });
    this.#onSignals();
    this.#publisher.poke();
    this.#idle.active();
  }

  #accept(transport: DescriptorTransport): void {
    this.#replacement.accept(transport);
    // Somebody who looks after containers is there: perhaps the receiver of events is back as well.
    if (this.#context.events.pending > 0) this.#publisher.poke();
  }

  #noteSpooling(id: number, active: boolean): void {
    for (const container of this.#containers) {
      for (const { record } of [container.init, ...container.execs]) {
        for (const output of record.outputs) if (output.id === id) output.spooling = active;
      }
    }
  }

  /** Signals that end other programs do not end a shim: it goes when its containers have gone. */
  #onSignals(): void {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGPIPE'] as const) {
      process.on(signal, () => {
        this.#context.log.info('a signal that does not end a shim', { signal });
      });
    }
    // Whatever goes wrong in one call or event, the containers of all others need their shim.
    for (const trouble of ['uncaughtException', 'unhandledRejection'] as const) {
      process.on(trouble, (error: unknown) => {
        this.#context.log.error('something failed that nothing has expected; the shim goes on', {
          error: inspect(error),
        });
      });
    }
    process.on('SIGUSR2', () => {
      this.#replacement.upgrade().catch((error: unknown) => {
        this.#context.log.error('the upgrade did not happen', { error: inspect(error) });
      });
    });
  }

  /** Answers, delivers what is left to tell, cleans up after itself, ends. */
  #leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#farewell().catch((error: unknown) => {
      this.#context.log.error('leaving', { error: inspect(error) });
      process.exit(1);
    });
  }

  async #farewell(): Promise<void> {
    const { record, events } = this.#context;
    this.#listener.close();
    unlinkQuietly(record.socketPath);
    this.#attach.close();
    const deadline = Date.now() + farewellMs;
    // The answer to the call that asked for it leaves first.
    await new Promise((resolve) => setImmediate(resolve));
    while (
      record.eventsAddress !== '' &&
      events.pending > 0 &&
      !this.#publisher.receiverIsAway &&
      Date.now() < deadline
    ) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.#context.records.flush();
    // With events that nobody has taken the record stays: it is their journal.
    if (events.pending === 0) unlinkQuietly(join(record.bundle, shimRecordFile));
    process.exit(0);
  }
}
