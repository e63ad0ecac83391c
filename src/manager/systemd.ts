import type { Logger } from 'pino';
import { isSystemError, type NativeAddon } from '../linux/index.ts';

export interface SystemdOptions {
  /** NOTIFY_SOCKET; undefined: nobody is told anything. */
  readonly socket: string | undefined;
  /** WATCHDOG_USEC, in microseconds; undefined: nobody watches. */
  readonly watchdogMicroseconds: string | undefined;
  /** WATCHDOG_PID: who is watched; undefined: whoever has the variable. */
  readonly watchdogPid: string | undefined;
  readonly native: Pick<NativeAddon, 'sendDatagram'>;
  readonly log: Logger;
}

/** How often, and how long in all, a message is tried again when systemd's queue is full. */
const retryMilliseconds = 100;
const maxWaiting = 50;

/** Tells systemd how the daemon is; see sd_notify(3). Does nothing where systemd has not started it. */
export class Systemd implements Disposable {
  readonly #socket: string | undefined;
  readonly #native: Pick<NativeAddon, 'sendDatagram'>;
  readonly #log: Logger;
  readonly #watchdogMilliseconds: number;
  readonly #waiting: string[] = [];
  #retry: NodeJS.Timeout | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  constructor({ socket, watchdogMicroseconds, watchdogPid, native, log }: SystemdOptions) {
    this.#socket = socket === '' ? undefined : socket;
    this.#native = native;
    this.#log = log;
    const microseconds = Number(watchdogMicroseconds ?? 0);
    const isOurs = watchdogPid === undefined || Number(watchdogPid) === process.pid;
    this.#watchdogMilliseconds = isOurs && microseconds > 0 ? microseconds / 1000 : 0;
  }

  /** Start-up is over: it serves. From now on the watchdog is fed while the event loop turns. */
  ready(status: string): void {
    this.#tell(`READY=1\nSTATUS=${oneLine(status)}`);
    if (this.#watchdogMilliseconds === 0 || this.#watchdog !== undefined) return;
    this.#watchdog = setInterval(() => this.#tell('WATCHDOG=1'), this.#watchdogMilliseconds / 2);
    this.#watchdog.unref();
  }

  /** What `systemctl status` shows. */
  status(status: string): void {
    this.#tell(`STATUS=${oneLine(status)}`);
  }

  /** A start that needs longer than the unit allows: it may have so much more from now on. */
  extendTimeout(milliseconds: number): void {
    this.#tell(`EXTEND_TIMEOUT_USEC=${Math.round(milliseconds * 1000)}`);
  }

  stopping(): void {
    this.#tell('STOPPING=1\nSTATUS=Finishing calls; containers go on');
  }

  [Symbol.dispose](): void {
    clearInterval(this.#watchdog);
    clearTimeout(this.#retry);
  }

  #tell(message: string): void {
    if (this.#socket === undefined) return;
    if (this.#waiting.length >= maxWaiting) this.#waiting.shift();
    this.#waiting.push(message);
    this.#send(this.#socket);
  }

  /** Messages go out in order; what cannot be taken now is tried again. */
  #send(socket: string): void {
    clearTimeout(this.#retry);
    for (let message = this.#waiting[0]; message !== undefined; message = this.#waiting[0]) {
      try {
        this.#native.sendDatagram(socket, message);
      } catch (error) {
        if (isSystemError(error, 'EAGAIN')) {
          this.#retry = setTimeout(() => this.#send(socket), retryMilliseconds);
          this.#retry.unref();
          return;
        }
        this.#log.warn({ err: error, socket }, 'systemd cannot be told how berthd is');
      }
      this.#waiting.shift();
    }
  }
}

function oneLine(text: string): string {
  return text.replaceAll('\n', ' ');
}
