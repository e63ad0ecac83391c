import { spawn } from 'node:child_process';
import { Code, RpcError } from '../../grpc/index.ts';
import { BoundedOutput } from './bounded-output.ts';

const maxOutputBytes = 1024 * 1024;
/** A program that has ended may have left its output open to another; that is not waited for longer than this. */
const outputGraceMs = 100;

export interface ProgramOptions {
  cwd: string;
  env: Readonly<Record<string, string>>;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

export interface ProgramResult {
  /** The exit code; -1 when a signal ended it. */
  code: number;
  stdout: Buffer;
  stderr: string;
}

/**
 * Runs a program to its end, in a session of its own: what it leaves running outlives this process.
 * @throws RpcError UNAVAILABLE when it cannot be started, DEADLINE_EXCEEDED, CANCELLED; then its process group is killed
 */
export async function runProgram(file: string, args: string[], options: ProgramOptions): Promise<ProgramResult> {
  const { cwd, env, timeoutMs, signal } = options;
  const what = `${file} ${args.at(-1) ?? ''}`.trimEnd();
  if (signal?.aborted === true) throw new RpcError(Code.Cancelled, `${what}: given up before it was started`);
  const child = spawn(file, args, { cwd, env: { ...env }, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const stdout = new BoundedOutput(maxOutputBytes);
  const stderr = new BoundedOutput(maxOutputBytes);
  child.stdout.on('data', (bytes: Buffer) => stdout.add(bytes));
  child.stderr.on('data', (bytes: Buffer) => stderr.add(bytes));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const giveUp = (code: Code, why: string) => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) killGroup(child.pid);
    reject(new RpcError(code, `${what}: ${why}${stderr.text === '' ? '' : `; it said: ${stderr.text.trim()}`}`));
  };
  const abort = () => giveUp(Code.Cancelled, 'given up by the caller');
  const timer = setTimeout(() => giveUp(Code.DeadlineExceeded, `has not ended within ${timeoutMs} ms`), timeoutMs);
  let grace: NodeJS.Timeout | undefined;
  child.once('error', (cause) =>
    reject(new RpcError(Code.Unavailable, `cannot run ${file} in ${cwd}: ${cause.message}`, { cause })),
  );
  child.once('exit', (code) => {
    clearTimeout(timer);
    grace = setTimeout(() => resolve(code ?? -1), outputGraceMs);
  });
  child.once('close', (code) => resolve(code ?? -1));
  signal?.addEventListener('abort', abort);
  try {
    return { code: await promise, stdout: stdout.bytes, stderr: stderr.text };
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    signal?.removeEventListener('abort', abort);
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has ended
  }
}
