import { closeSync, constants, openSync, writeSync } from 'node:fs';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Record<string, string | number | boolean | undefined>;

/**
 * The shim's log in logfmt, which is what containerd mixes into its own: one line an event, into the FIFO `log` of the
 * bundle. A log that nobody reads never holds the shim up: the line is dropped.
 */
export class Log {
  readonly #path: string;
  readonly #debug: boolean;
  readonly #fields: string;
  #fd = -1;

  constructor(path: string, debug: boolean, fields: LogFields) {
    this.#path = path;
    this.#debug = debug;
    this.#fields = formatFields(fields);
  }

  debug(message: string, fields?: LogFields): void {
    if (this.#debug) this.#write('debug', message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#write('warning', message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  #write(level: string, message: string, fields: LogFields = {}): void {
    const line = `time=${quote(new Date().toISOString())} level=${level} msg=${quote(message)}${formatFields(fields)}${this.#fields}\n`;
    // A reader that went away (the manager was restarted) leaves a descriptor that fails once; the next one is tried at once.
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        if (this.#fd < 0)
          this.#fd = openSync(this.#path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_APPEND);
        writeSync(this.#fd, line);
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return;
        this.#close();
      }
    }
  }

  #close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }
}

function formatFields(fields: LogFields): string {
  let text = '';
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) text += ` ${key}=${quote(String(value))}`;
  return text;
}

function quote(text: string): string {
  return /^[A-Za-z0-9_./:@+-]+$/.test(text) ? text : JSON.stringify(text);
}
