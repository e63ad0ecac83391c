import type { Daemon } from './daemon.ts';

/** Where output goes. */
export interface Sink {
  write(text: string | Uint8Array): void;
  /** Resolves when what was written has been taken, for those who write much. */
  drained(): Promise<void>;
  readonly isTerminal: boolean;
  /** Of the terminal; 80 when it is none. */
  readonly columns: number;
  /** What to do when nobody reads any more. Default: end the process. */
  whenUnread: () => void;
}

/** What every verb works with. */
export interface Context {
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** Opens stdin when it is asked for. */
  readonly stdin: () => NodeJS.ReadStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly settings: Settings;

  /** Milliseconds since 1970. */
  now(): number;

  /** The server of the settings, connected when first called. Loading it is what takes time: ask late. */
  daemon(): Promise<Daemon>;

  /** A line for who debugs, shown with --debug only. */
  debug(line: string): void;

  /** A line for the person, on stderr. */
  say(line: string): void;
}

/** The global options, from the command line, the environment and the configuration file, in this order. */
export interface Settings {
  /** Path of the unix socket. */
  readonly socket: string;
  /** Given by the user; undefined: each call's own default. Milliseconds. */
  readonly timeoutMs: number | undefined;
  readonly debug: boolean;
  readonly pullImageOnCreate: boolean;
  readonly disablePullOnRun: boolean;
}
