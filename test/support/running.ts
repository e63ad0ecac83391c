import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { until } from './until.ts';

/** A program that runs while the test goes on, with its input and all that it has said so far. */
export class Running {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #stdout: Buffer[] = [];
  readonly #stderr: Buffer[] = [];
  /** The exit code; 128 + signal when a signal ended it. */
  readonly exited: Promise<number>;
  #hasExited = false;

  constructor(file: string, args: string[]) {
    this.#child = spawn(file, args, { stdio: 'pipe' });
    this.#child.stdout.on('data', (bytes: Buffer) => this.#stdout.push(bytes));
    this.#child.stderr.on('data', (bytes: Buffer) => this.#stderr.push(bytes));
    this.#child.stdin.on('error', () => undefined);
    this.exited = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => {
        this.#hasExited = true;
        resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
      });
    });
    this.exited.catch(() => undefined); // whoever awaits it sees it
  }

  get stdout(): string {
    return Buffer.concat(this.#stdout).toString();
  }

  get stderr(): string {
    return Buffer.concat(this.#stderr).toString();
  }

  /** Waits for a text on its standard output. */
  async says(expected: string | RegExp, withinMilliseconds?: number): Promise<void> {
    const matches = () => (typeof expected === 'string' ? this.stdout.includes(expected) : expected.test(this.stdout));
    const probe = () => {
      if (matches()) return true;
      throw new Error(`so far: ${this.stdout}${this.stderr}`);
    };
    await until(`output with ${String(expected)}`, probe, withinMilliseconds);
  }

  write(input: string): void {
    this.#child.stdin.write(input);
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.#hasExited) return;
    this.#child.kill(signal);
    await this.exited;
  }
}
