import { connect } from 'node:net';
import { Code, codeName, GrpcClient, isRpcError } from '../grpc/index.ts';
import { berth, cri, type Init, type MethodNames, type RequestOf, type ResponseOf } from '../wire/index.ts';
import type { Settings } from './context.ts';
import { ExitCode } from './exit-codes.ts';
import { Failure, isSystemError, messageOf, NotFoundError, NotSupportedError } from './failure.ts';

/** What the daemon only has to look up. */
const quickMs = 30_000;
/** What makes or ends something. */
const slowMs = 300_000;

type Runtime = typeof cri.RuntimeService;
type ImagesOfCri = typeof cri.ImageService;

export interface CallLimits {
  /** Milliseconds. 'slow' is five minutes, 'none' for ever. Default: that of --timeout, else 30 seconds. */
  readonly deadline?: number | 'slow' | 'none';
  readonly signal?: AbortSignal | undefined;
}

/** The server that berthctl talks to: any that serves CRI, and berthd for the rest. All calls reject with a Failure. */
export class Daemon {
  readonly socket: string;
  readonly #client: GrpcClient;
  readonly #settings: Settings;
  readonly #debug: (line: string) => void;

  constructor(settings: Settings, debug: (line: string) => void) {
    this.socket = settings.socket;
    this.#client = new GrpcClient(settings.socket);
    this.#settings = settings;
    this.#debug = debug;
  }

  /** A call of CRI's RuntimeService; `what` says in a failure's message what was tried. */
  runtime<Name extends MethodNames<Runtime, 'unary'>>(
    what: string,
    name: Name,
    request: Init<RequestOf<Runtime['methods'][Name]>>,
    limits: CallLimits = {},
  ): Promise<ResponseOf<Runtime['methods'][Name]>> {
    return this.#explaining(what, () =>
      this.#client.call(cri.RuntimeService, name, request, this.#options(name, limits)),
    );
  }

  /** A call of CRI's ImageService. */
  images<Name extends MethodNames<ImagesOfCri, 'unary'>>(
    what: string,
    name: Name,
    request: Init<RequestOf<ImagesOfCri['methods'][Name]>>,
    limits: CallLimits = {},
  ): Promise<ResponseOf<ImagesOfCri['methods'][Name]>> {
    return this.#explaining(what, () =>
      this.#client.call(cri.ImageService, name, request, this.#options(name, limits)),
    );
  }

  /** CRI's stream of container events. */
  containerEvents(signal?: AbortSignal): AsyncGenerator<cri.ContainerEventResponse> {
    return this.#explainingAll('cannot watch container events', () =>
      this.#client.stream(cri.RuntimeService, 'GetContainerEvents', {}, { signal }),
    );
  }

  /** berthd's numbered events. */
  events(request: Init<berth.SubscribeRequest>, signal?: AbortSignal): AsyncGenerator<berth.Event> {
    return this.#explainingAll('cannot read events', () =>
      this.#client.stream(berth.Events, 'Subscribe', request, { signal }),
    );
  }

  /** berthd's pull, which tells how far it is. */
  pull(request: Init<berth.PullRequest>, limits: CallLimits = {}): AsyncGenerator<berth.PullProgress> {
    return this.#explainingAll(`cannot pull ${request.image ?? ''}`, () =>
      this.#client.stream(berth.Images, 'Pull', request, this.#options('Pull', { deadline: 'none', ...limits })),
    );
  }

  load(chunks: AsyncIterable<Init<berth.ArchiveChunk>>): Promise<berth.LoadResponse> {
    return this.#explaining('cannot load the archive', () => this.#client.upload(berth.Images, 'Load', chunks));
  }

  save(request: Init<berth.SaveRequest>): AsyncGenerator<berth.ArchiveChunk> {
    return this.#explainingAll(`cannot save ${request.image ?? ''}`, () =>
      this.#client.stream(berth.Images, 'Save', request),
    );
  }

  /** What berthd says of itself. */
  info(limits: CallLimits = {}): Promise<berth.InfoResponse> {
    return this.#explaining('cannot ask berthd about itself', () =>
      this.#client.call(berth.Daemon, 'Info', {}, this.#options('Info', limits)),
    );
  }

  setLogLevel(level: string): Promise<berth.SetLogLevelResponse> {
    return this.#explaining('cannot set the log level', () =>
      this.#client.call(berth.Daemon, 'SetLogLevel', { level }, this.#options('SetLogLevel', {})),
    );
  }

  close(): void {
    this.#client.close();
  }

  #options(name: string, { deadline, signal }: CallLimits): { timeoutMs?: number; signal?: AbortSignal | undefined } {
    this.#debug(`calls ${name} on ${this.socket}`);
    if (deadline === 'none') return { signal };
    const timeoutMs = deadline === 'slow' ? slowMs : (deadline ?? this.#settings.timeoutMs ?? quickMs);
    return { timeoutMs, signal };
  }

  async #explaining<T>(what: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw await this.#failure(what, error);
    }
  }

  async *#explainingAll<T>(what: string, call: () => AsyncGenerator<T>): AsyncGenerator<T> {
    try {
      yield* call();
    } catch (error) {
      throw await this.#failure(what, error);
    }
  }

  async #failure(what: string, error: unknown): Promise<Failure> {
    if (error instanceof Failure) return error;
    if (!isRpcError(error)) return new Failure(`${what}: ${messageOf(error)}`, { cause: error });
    this.#debug(`${codeName(error.code)}: ${error.message}`);
    switch (error.code) {
      case Code.Unavailable:
        return this.#noAnswer(what, error);
      case Code.DeadlineExceeded:
        return new Failure(`${what}: no answer in time (${error.message})`, {
          exitCode: ExitCode.NoAnswer,
          next: 'give it longer with "berthctl --timeout 60s ...", or see what berthd does: journalctl -u berthd -n 50',
          cause: error,
        });
      case Code.NotFound:
        return new NotFoundError(`${what}: ${error.message}`);
      case Code.Unimplemented:
        return new NotSupportedError(`${what}: the server at ${this.socket} cannot do that (${error.message})`);
      case Code.PermissionDenied:
        return new Failure(`${what}: ${error.message}`, { next: 'try again with sudo', cause: error });
      default:
        return new Failure(`${what}: ${error.message}`, { cause: error });
    }
  }

  async #noAnswer(what: string, cause: unknown): Promise<Failure> {
    const { why, next } = await whyNoAnswer(this.socket);
    return new Failure(`${what}: ${why}`, { exitCode: ExitCode.NoAnswer, next, cause });
  }
}

/** Whether it failed because nobody answered; then trying again later can help. */
export function isNoAnswer(error: unknown): boolean {
  return error instanceof Failure && error.exitCode === ExitCode.NoAnswer;
}

/** Whether a call failed because the server does not have it. */
export function isNotSupported(error: unknown): boolean {
  return error instanceof NotSupportedError;
}

/** Why there is no connection to a socket, and what to do. */
export async function whyNoAnswer(socket: string): Promise<{ why: string; next: string }> {
  const start = 'start berthd: systemctl start berthd; "berthctl doctor" finds out more';
  try {
    await connected(socket);
    return {
      why: `${socket} broke off the connection`,
      next: 'is that a CRI server? "berthctl doctor" finds out more',
    };
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) {
      return {
        why: `there is no socket ${socket}, so berthd does not run`,
        next: `${start} (another socket: -r PATH)`,
      };
    }
    if (isSystemError(error, 'EACCES', 'EPERM')) {
      return { why: `you may not use ${socket}`, next: 'try again with sudo' };
    }
    if (isSystemError(error, 'ECONNREFUSED')) {
      return { why: `nobody listens on ${socket} any more: berthd has died or is starting`, next: start };
    }
    return { why: `cannot connect to ${socket}: ${messageOf(error)}`, next: start };
  }
}

function connected(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setTimeout(2000, () => socket.destroy(new Error('no connection within 2 seconds')));
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('error', reject);
  });
}
