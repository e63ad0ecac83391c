import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Sink } from '../../../src/cli/context.ts';
import { runProgram } from '../../../src/cli/program.ts';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs berthctl in this process. */
export async function berthctl(
  socket: string,
  args: readonly string[],
  surroundings: { environment?: Record<string, string>; stdin?: NodeJS.ReadStream; terminal?: boolean } = {},
): Promise<Outcome> {
  const stdout = new Memory(surroundings.terminal === true);
  const stderr = new Memory(surroundings.terminal === true);
  const code = await runProgram(args, {
    stdout,
    stderr,
    stdin: () => surroundings.stdin ?? process.stdin,
    environment: { CONTAINER_RUNTIME_ENDPOINT: socket, ...surroundings.environment },
  });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

class Memory implements Sink {
  readonly isTerminal: boolean;
  readonly columns = 80;
  whenUnread = () => undefined;
  readonly #pieces: Buffer[] = [];

  constructor(isTerminal: boolean) {
    this.isTerminal = isTerminal;
  }

  write(text: string | Uint8Array): void {
    this.#pieces.push(Buffer.from(text as string));
  }

  drained(): Promise<void> {
    return Promise.resolve();
  }

  get text(): string {
    return Buffer.concat(this.#pieces).toString();
  }
}

const main = join(import.meta.dirname, '../../../src/cli/main.ts');

/** Starts berthctl as a process. */
export function spawnBerthctl(
  socket: string,
  args: readonly string[],
): { child: ChildProcess; ended: Promise<Outcome> } {
  const environment = { PATH: process.env['PATH'], CONTAINER_RUNTIME_ENDPOINT: socket };
  const child = spawn(process.execPath, [main, ...args], { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
  const pieces = { stdout: '', stderr: '' };
  child.stdout.on('data', (data: Buffer) => (pieces.stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (pieces.stderr += data.toString()));
  const ended = new Promise<Outcome>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? -1, ...pieces }));
  });
  return { child, ended };
}
