import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import { bootstrap, fromTimestamp, task, nowNanoseconds } from '../../wire/index.ts';
import type { Deadlines } from './deadlines.ts';
import { runProgram, type ProgramResult } from './program.ts';
import type { ShimInfo } from './shim-info.ts';

export interface ShimSurroundings {
  /** containerd's namespace. */
  readonly namespace: string;
  /** The manager's gRPC socket. */
  readonly managerAddress: string;
  /** The socket where events go. */
  readonly eventsAddress: string;
  /** Where shims of ours listen. */
  readonly socketFolder: string;
  /** What shims inherit. */
  readonly environment: Readonly<Record<string, string>>;
  /** Idle seconds before a shim of ours sleeps; undefined: its default. */
  readonly sleepAfterSeconds?: number | undefined;
}

export interface Exit {
  exitStatus: number;
  /** Nanoseconds since 1970. */
  exitedAt: bigint;
}

/** The commands of a shim's program, as containerd's shim protocol defines them. */
export class ShimCommand {
  readonly #surroundings: ShimSurroundings;
  readonly #deadlines: Deadlines;

  constructor(surroundings: ShimSurroundings, deadlines: Deadlines) {
    this.#surroundings = surroundings;
    this.#deadlines = deadlines;
  }

  /** `start`: gives where the shim listens. @throws RpcError */
  async start(info: ShimInfo, signal?: AbortSignal): Promise<{ address: string; version: 2 | 3 }> {
    const result = await this.#run(info, info.id, info.bundle, 'start', this.#deadlines.startMs, signal);
    if (result.code !== 0) {
      throw new RpcError(
        Code.Unavailable,
        `cannot start ${info.shimBinary}: exit code ${result.code}: ${said(result)}`,
      );
    }
    const answer = parseBootstrap(result.stdout);
    if (answer === undefined) {
      throw new RpcError(Code.Internal, `${info.shimBinary} start answers what is no address: ${said(result)}`);
    }
    // A shim's `delete` command may look for it there.
    writeFileSync(join(info.bundle, 'address'), answer.address, { mode: 0o600 });
    return answer;
  }

  /** `delete`: undoes what is left of one of the shim's containers; gives its exit. @throws RpcError */
  async delete(info: ShimInfo, id: string, bundle: string): Promise<Exit> {
    const result = await this.#run(info, id, bundle, 'delete', this.#deadlines.deleteMs);
    if (result.code !== 0) {
      throw new RpcError(
        Code.Internal,
        `${info.shimBinary} delete of ${id}: exit code ${result.code}: ${said(result)}`,
      );
    }
    const { exitStatus, exitedAt } = task.DeleteResponse.decode(result.stdout);
    return { exitStatus, exitedAt: fromTimestamp(exitedAt) ?? nowNanoseconds() };
  }

  async #run(
    { shimBinary }: ShimInfo,
    id: string,
    bundle: string,
    command: 'start' | 'delete',
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<ProgramResult> {
    const { namespace, managerAddress, eventsAddress, socketFolder, environment, sleepAfterSeconds } =
      this.#surroundings;
    // Nothing is published through a program: TTRPC_ADDRESS says where to.
    const flags = ['-namespace', namespace, '-id', id, '-address', managerAddress, '-publish-binary', '/bin/false'];
    if (command === 'delete') flags.push('-bundle', bundle);
    const env = {
      ...environment,
      TTRPC_ADDRESS: eventsAddress,
      GRPC_ADDRESS: managerAddress,
      NAMESPACE: namespace,
      SHIM_SOCKET_DIR: socketFolder,
      MAX_SHIM_VERSION: '3',
      // Shims in Go need no thread for each processor.
      GOMAXPROCS: '2',
      ...(sleepAfterSeconds === undefined ? {} : { BERTH_SLEEP_AFTER_SECONDS: String(sleepAfterSeconds) }),
    };
    return await runProgram(shimBinary, [...flags, command], { cwd: bundle, env, timeoutMs, signal });
  }
}

function said({ stdout, stderr }: ProgramResult): string {
  return (stderr.trim() === '' ? stdout.toString().trim() : stderr.trim()).slice(0, 1000);
}

/** Reads what `start` has written, in any of the three forms that there are; undefined for anything else. */
export function parseBootstrap(output: Buffer): { address: string; version: 2 | 3 } | undefined {
  const text = output.toString().trim();
  if (text.startsWith('unix://')) return checked(text, 2, 'ttrpc');
  try {
    if (text.startsWith('{')) {
      const answer = JSON.parse(text) as { version?: unknown; address?: unknown; protocol?: unknown };
      return checked(answer.address, answer.version, answer.protocol);
    }
    const { address, version, protocol } = bootstrap.BootstrapResult.decode(output);
    return checked(address, version, protocol);
  } catch {
    return undefined;
  }
}

function checked(
  address: unknown,
  version: unknown,
  protocol: unknown,
): { address: string; version: 2 | 3 } | undefined {
  if (typeof address !== 'string' || !/^unix:\/\/\/[^\0\n]+$/.test(address)) return undefined;
  if ((version !== 2 && version !== 3) || protocol !== 'ttrpc') return undefined;
  return { address, version };
}
