import { type LevelWithSilent, type Logger, pino } from 'pino';
import pretty from 'pino-pretty';

export interface LogOptions {
  readonly level: LevelWithSilent;
  /** For people, in colours, instead of JSON. */
  readonly pretty: boolean;
  /** Descriptor that is written to. Default 1. */
  readonly fd?: number;
}

/** berthd's log: one line an event, written before the call returns, so that a crash loses none. */
export class Log {
  readonly logger: Logger;
  /** Children have levels of their own, so they are told. */
  readonly #children = new Set<WeakRef<Logger>>();
  readonly #gone = new FinalizationRegistry<WeakRef<Logger>>((child) => this.#children.delete(child));

  constructor({ level, pretty: isPretty, fd = 1 }: LogOptions) {
    const onChild = (child: Logger) => {
      const reference = new WeakRef(child);
      this.#children.add(reference);
      this.#gone.register(child, reference);
    };
    const stream = isPretty
      ? pretty({ destination: fd, sync: true, colorize: true, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname' })
      : pino.destination({ dest: fd, sync: true });
    // A reader that has gone (a closed terminal) must not take the daemon with it.
    stream.on('error', () => undefined);
    // The process and the machine are known to whoever reads it: the journal adds them.
    this.logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, onChild }, stream);
  }

  get level(): LevelWithSilent {
    return this.logger.level as LevelWithSilent;
  }

  /** From now on, in all parts of the daemon. */
  set level(level: LevelWithSilent) {
    this.logger.level = level;
    for (const child of this.#children) {
      const logger = child.deref();
      if (logger !== undefined) logger.level = level;
    }
  }
}
