import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import type { NativeAddon } from '../../linux/index.ts';
import { FifoReader } from './fifo-reader.ts';

const fifoMode = 0o600;
/** A longer line is cut there. */
const maxLineBytes = 16 * 1024;
/** The manager's own log has these already. */
const knownFields = ['time', 'id', 'namespace'];

/** What a shim says, from a FIFO into the manager's own log. */
export class ShimLog {
  readonly #reader: FifoReader;
  readonly #log: Logger;
  #rest = '';

  /** Makes the FIFO if it is not there. A shim may refuse to start when nobody reads it. @throws SystemError */
  constructor(path: string, native: NativeAddon, log: Logger) {
    this.#log = log;
    if (!existsSync(path)) native.mkfifo(path, fifoMode);
    this.#reader = new FifoReader(path, { take: (bytes) => this.#take(bytes.toString()), keepOpen: true });
  }

  close(): void {
    this.#reader.close();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = (lines.pop() ?? '').slice(0, maxLineBytes);
    for (const line of lines) if (line !== '') this.#pass(line.slice(0, maxLineBytes));
  }

  #pass(line: string): void {
    const { level = 'info', msg: message = line, ...all } = parseLogfmt(line);
    const fields = Object.fromEntries(Object.entries(all).filter(([name]) => !knownFields.includes(name)));
    if (level === 'debug' || level === 'trace') this.#log.debug(fields, message);
    else if (level === 'warning' || level === 'warn') this.#log.warn(fields, message);
    else if (level === 'info') this.#log.info(fields, message);
    else this.#log.error(fields, message);
  }
}

/** Reads `key=value key="quoted value"`; what is none of these is left out. */
export function parseLogfmt(line: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const [, key = '', value = ''] of line.matchAll(/([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|[^ "]*)/g)) {
    fields[key] = value.startsWith('"') ? unquote(value) : value;
  }
  return fields;
}

function unquote(text: string): string {
  try {
    return JSON.parse(text) as string;
  } catch {
    return text.slice(1, -1);
  }
}
