import type { Logger } from 'pino';
import { type CallContext, type CallObserver, codeName, Code, RpcError } from '../grpc/index.ts';

/** Failures that are the daemon's own fault, or its host's. */
const ours: ReadonlySet<number> = new Set([Code.Internal, Code.Unknown, Code.DataLoss]);

export interface CallsOptions {
  readonly log: Logger;
  /** Paths of methods that last as long as their callers like; nobody waits for their end. */
  readonly endless: ReadonlySet<string>;
}

/** The calls that run: it logs each, and lets them come to an end. */
export class Calls {
  readonly #log: Logger;
  readonly #endless: ReadonlySet<string>;
  #running = 0;
  #closing = false;
  #whenIdle: () => void = () => undefined;

  constructor({ log, endless }: CallsOptions) {
    this.#log = log;
    this.#endless = endless;
  }

  /** What a GrpcServer tells its calls to. */
  readonly observe: CallObserver = (context) => {
    if (this.#closing) throw new RpcError(Code.Unavailable, 'berthd is stopping: call again when it is back');
    const began = performance.now();
    const counts = !this.#endless.has(context.path);
    if (counts) this.#running++;
    return (error) => {
      this.#told(context, performance.now() - began, error);
      if (counts && --this.#running === 0) this.#whenIdle();
    };
  };

  /** Refuses new calls and waits for those that run, but not longer than this. Gives how many run still. */
  async finish(milliseconds: number): Promise<number> {
    this.#closing = true;
    if (this.#running === 0) return 0;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
      timer = setTimeout(resolve, milliseconds);
    });
    clearTimeout(timer);
    return this.#running;
  }

  #told({ path }: CallContext, milliseconds: number, error: RpcError | undefined): void {
    const fields = { method: path.slice(path.lastIndexOf('.') + 1), ms: Math.round(milliseconds) };
    if (error === undefined) this.#log.debug(fields, 'call');
    else if (ours.has(error.code))
      this.#log.error({ ...fields, err: error.cause ?? error }, `call failed: ${error.message}`);
    else this.#log.info({ ...fields, code: codeName(error.code) }, `call refused: ${error.message}`);
  }
}
