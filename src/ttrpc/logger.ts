/** Where ttRPC reports what it cannot tell any caller. */
export interface Logger {
  /** Something that happens and needs nobody: a frame for a call that was given up. */
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;

  /** Something is wrong with a peer, or with a handler. */
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
}
