import { nowNanoseconds } from '../wire/index.ts';
import { constants } from 'node:os';
import { onExit } from 'signal-exit';
import type { NativeAddon } from '../linux/index.ts';
import { type Config, configToml } from './config/index.ts';
import { type RunningDaemon, startDaemon } from './daemon.ts';
import { InstanceLock } from './instance.ts';
import { Log } from './log.ts';
import { Systemd } from './systemd.ts';
import { version } from './version.ts';

/** What systemd has put into the environment. */
export interface SystemdEnvironment {
  readonly notifySocket: string | undefined;
  readonly watchdogMicroseconds: string | undefined;
  readonly watchdogPid: string | undefined;
}

/** What the programs that we run get, and which our own shim is. */
export interface ProgramEnvironment {
  /** Absolute paths. */
  readonly addon: string;
  readonly shimBinary: string;
  readonly variables: Readonly<Record<string, string>>;
}

const stopSignals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Beyond the deadline that the daemon was given, for a `stop` that does not come back. */
const stopSlackMilliseconds = 5000;

/**
 * Runs the daemon until a signal ends the process. Whatever happens to this process, containers go on.
 * @throws when it cannot be started
 */
export async function serve(
  config: Config,
  native: NativeAddon,
  environment: SystemdEnvironment,
  programs: ProgramEnvironment,
): Promise<void> {
  const startedAt = nowNanoseconds();
  const log = new Log({ level: config.log.level, pretty: process.stdout.isTTY });
  const { logger } = log;
  const die = (error: unknown, what: string) => {
    logger.fatal({ err: error }, `${what}: berthd ends; containers go on, and the next berthd takes them up`);
    process.exit(1);
  };
  process.on('uncaughtException', (error) => die(error, 'a bug'));
  process.on('unhandledRejection', (reason) => die(reason, 'a bug (a rejection that nobody handles)'));

  const { notifySocket: socket, watchdogMicroseconds, watchdogPid } = environment;
  const systemd = new Systemd({ socket, watchdogMicroseconds, watchdogPid, native, log: logger });
  const ending = new Ending(log, systemd, config.limits.shutdownSeconds * 1000);
  for (const signal of stopSignals) process.on(signal, () => ending.take(signal));

  const lock = await InstanceLock.take([config.state, config.root], native);
  // Also for an end that no signal of ours announces; SIGKILL leaves the file, and its lock is gone all the same.
  onExit(() => lock[Symbol.dispose]());
  const daemon = await startDaemon({
    config,
    configText: configToml(config),
    native,
    log: logger,
    version,
    startedAt,
    addon: programs.addon,
    shimBinary: programs.shimBinary,
    environment: programs.variables,
    logLevel: () => log.level,
    setLogLevel: (level) => {
      log.level = level;
    },
  });
  logger.info(
    { version, pid: process.pid, socket: config.socket, state: config.state, root: config.root },
    'berthd serves',
  );
  systemd.ready(`Serving ${config.socket}`);
  ending.started(daemon);
}

/** The way out. */
class Ending {
  readonly #log: Log;
  readonly #systemd: Systemd;
  readonly #deadlineMs: number;
  #daemon: RunningDaemon | undefined;
  #asked = false;

  constructor(log: Log, systemd: Systemd, deadlineMs: number) {
    this.#log = log;
    this.#systemd = systemd;
    this.#deadlineMs = deadlineMs;
  }

  started(daemon: RunningDaemon): void {
    this.#daemon = daemon;
  }

  take(signal: (typeof stopSignals)[number]): void {
    const { logger } = this.#log;
    if (this.#asked) {
      logger.warn({ signal }, 'told to stop a second time: berthd ends at once; containers go on');
      process.exit(128 + constants.signals[signal]);
    }
    this.#asked = true;
    this.#systemd.stopping();
    logger.info({ signal }, 'berthd finishes running calls and ends; containers go on');
    // What was begun before it was ready is finished or undone by the next start.
    if (this.#daemon === undefined) process.exit(0);
    setTimeout(() => {
      logger.error('the daemon did not stop in time: berthd ends now; containers go on');
      process.exit(1);
    }, this.#deadlineMs + stopSlackMilliseconds).unref();
    this.#daemon.stop(this.#deadlineMs).then(
      () => {
        logger.info('berthd has ended');
        process.exit(0);
      },
      (error: unknown) => {
        logger.error({ err: error }, 'berthd could not end in order; containers go on');
        process.exit(1);
      },
    );
  }
}
