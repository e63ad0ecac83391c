import { type IPty, spawn } from 'node-pty';
import { until } from './until.ts';

/** A program in a real terminal, and the person at its keyboard. */
export class Terminal {
  readonly #pty: IPty;
  #screen = '';
  /** The exit code. */
  readonly exited: Promise<number>;
  #hasExited = false;

  constructor(file: string, args: string[], size: { columns: number; rows: number }) {
    this.#pty = spawn(file, args, { cols: size.columns, rows: size.rows, name: 'xterm' });
    this.#pty.onData((text) => (this.#screen += text));
    this.exited = new Promise((resolve) => {
      this.#pty.onExit(({ exitCode, signal }) => {
        this.#hasExited = true;
        resolve(signal ? 128 + signal : exitCode);
      });
    });
  }

  /** All that has appeared so far. */
  get screen(): string {
    return this.#screen;
  }

  type(keys: string): void {
    this.#pty.write(keys);
  }

  resize(size: { columns: number; rows: number }): void {
    this.#pty.resize(size.columns, size.rows);
  }

  /** Waits until this appears; what was there before the last `shows` does not count. */
  async shows(expected: string | RegExp, withinMilliseconds?: number): Promise<void> {
    const probe = () => {
      const unseen = this.#screen.slice(this.#seen);
      const at = typeof expected === 'string' ? unseen.indexOf(expected) : unseen.search(expected);
      if (at < 0) throw new Error(`on the screen: ${JSON.stringify(unseen)}`);
      const length = typeof expected === 'string' ? expected.length : (expected.exec(unseen)?.[0].length ?? 0);
      this.#seen += at + length;
      return true;
    };
    await until(`the terminal shows ${String(expected)}`, probe, withinMilliseconds);
  }
  #seen = 0;

  async close(): Promise<void> {
    if (this.#hasExited) return;
    this.#pty.kill('SIGKILL');
    await this.exited;
  }
}
