import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { cri } from '../../src/wire/index.ts';
import { GrpcClient } from '../../src/grpc/index.ts';
import { type Place } from './mount-namespace.ts';
import { markVariable, type Scratch } from './scratch.ts';
import { until } from './until.ts';

const startMilliseconds = 30_000;
const stopMilliseconds = 30_000;
const shownLogLines = 30;

/** How a daemon that serves CRI is run. */
export interface CriDaemonOptions {
  scratch: Scratch;
  place: Place;
  /** Where it will serve CRI. */
  socket: string;
  /** The program, its arguments after it. */
  argv: readonly [string, ...string[]];
  /** Added to PATH and the mark, which are its whole environment otherwise. */
  environment?: Readonly<Record<string, string>>;
  /** All that it says is added there. */
  logPath: string;
}

/** A program that serves CRI on a socket, as a child of this process; it can be killed and started again. */
export class CriDaemon {
  readonly socket: string;
  readonly logPath: string;
  readonly #options: CriDaemonOptions;
  #process: ChildProcess | undefined;

  constructor(options: CriDaemonOptions) {
    this.#options = options;
    this.socket = options.socket;
    this.logPath = options.logPath;
  }

  /** Its process; undefined while it is not running. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** All that it has said so far, in all its lives. */
  log(): string {
    return readFileSync(this.logPath, 'utf8');
  }

  /** Starts it without waiting for anything but its process. */
  launch(): void {
    const { argv, environment = {}, place, scratch } = this.#options;
    const [program, ...args] = argv;
    const log = openSync(this.logPath, 'a');
    const child = spawn(...place.wrap(program, args), {
      env: { PATH: process.env['PATH'], ...environment, [markVariable]: scratch.mark },
      stdio: ['ignore', log, log],
      detached: true, // a Ctrl-C at the terminal is for the tests, not for it
    });
    closeSync(log);
    this.#process = child;
    const gone = () => {
      if (this.#process === child) this.#process = undefined;
    };
    child.once('exit', gone).once('error', gone);
  }

  /** Starts it, or starts it again; it answers when this returns. */
  async start(): Promise<void> {
    this.launch();
    await this.whenServing();
  }

  /** Waits until CRI's Version is answered. Fails, with the end of its log, when it ends instead. */
  async whenServing(): Promise<void> {
    await until(
      `an answer on ${this.socket}`,
      async () => this.pid === undefined || (await this.#answers()),
      startMilliseconds,
    );
    if (this.pid === undefined) {
      const end = this.log().trimEnd().split('\n').slice(-shownLogLines);
      throw new Error(`${this.#options.argv.join(' ')}: ended instead of serving; it said:\n${end.join('\n')}`);
    }
  }

  async #answers(): Promise<boolean> {
    // A new client each time: one that was refused waits before it tries again.
    const client = new GrpcClient(this.socket);
    try {
      await client.call(cri.RuntimeService, 'Version', {}, { timeoutMs: 2000 });
      return true;
    } finally {
      client.close();
    }
  }

  /** SIGKILL: nothing of it runs any more when this returns. */
  async kill9(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM, as a service manager stops it. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    const tooLate = setTimeout(() => child.kill('SIGKILL'), stopMilliseconds);
    const [, how] = (await exited) as [number | null, NodeJS.Signals | null];
    clearTimeout(tooLate);
    if (signal !== 'SIGKILL' && how === 'SIGKILL') {
      throw new Error(
        `${this.#options.argv[0]} has not ended ${stopMilliseconds / 1000} s after ${signal}; see ${this.logPath}`,
      );
    }
  }
}
