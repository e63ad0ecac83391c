import { spawn } from 'node:child_process';
import { constants } from 'node:os';

export interface CommandOptions {
  /** What the program reads; default: nothing. */
  input?: string | Buffer;
  env?: NodeJS.ProcessEnv;
  /** After it the program gets SIGKILL and the call fails. Default 30,000. */
  deadlineMilliseconds?: number;
}

export interface CommandResult {
  /** The exit code; 128 + signal when a signal ended it, as shells count. */
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. Only a program that cannot be started, or that takes too long, is an error. */
export async function command(file: string, args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { deadlineMilliseconds = 30_000 } = options;
  const child = spawn(file, args, { env: options.env ?? process.env, stdio: 'pipe' });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => stderr.push(bytes));
  child.stdin.on('error', () => undefined); // it need not read all, or anything
  child.stdin.end(options.input ?? '');
  const texts = () => ({ stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() });
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const deadline = setTimeout(() => {
    child.kill('SIGKILL');
    child.stdout.destroy();
    child.stderr.destroy();
    const { stdout: out, stderr: err } = texts();
    reject(
      new Error(`${[file, ...args].join(' ')}: not ended after ${deadlineMilliseconds} ms; it said: ${out}${err}`),
    );
  }, deadlineMilliseconds);
  child.once('error', reject);
  child.once('close', (code, signal) => resolve({ code: code ?? 128 + signalNumber(signal), ...texts() }));
  try {
    return await promise;
  } finally {
    clearTimeout(deadline);
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : constants.signals[signal];
}
