/** What berthd is to its network, in a process of its own that a test can kill: calls come by Node's channel. See network-host.ts. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { isRpcError } from '../../src/grpc/index.ts';
import { loadNative, unpinNamespace } from '../../src/linux/index.ts';
import { PodNetwork, type PodNetworkOptions, type PodNetworkRequest } from '../../src/manager/network/index.ts';
import { repository } from './paths.ts';

const native = loadNative(join(repository, 'dist/lib/berth.node'));
const lines: string[] = [];
const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) });
const aborts = new Map<string, AbortController>();
let opened: PodNetwork | undefined;

function network(): PodNetwork {
  if (opened === undefined) throw new Error('the agent has no network yet');
  return opened;
}

const methods = {
  async open(options: Omit<PodNetworkOptions, 'native' | 'log'>) {
    opened = await PodNetwork.open({ environment: process.env, ...options, native, log });
  },
  attach(request: PodNetworkRequest) {
    const abort = new AbortController();
    aborts.set(request.sandboxId, abort);
    return network().attach(request, abort.signal);
  },
  abort(sandboxId: string) {
    aborts.get(sandboxId)?.abort();
  },
  detach: (sandboxId: string, netnsPath: string) => network().detach(sandboxId, netnsPath),
  check: (sandboxId: string) => network().check(sandboxId),
  garbageCollect: (valid: string[]) => network().garbageCollect(new Set(valid)),
  setPodCidr: (cidr: string) => network().setPodCidr(cidr),
  status: () => network().status(),
  probe: () => network().probe(),
  conflists: () => network().conflists(),
  log: () => lines,
  pin: (path: string) => native.pinNewNamespace('net', path),
  unpin(path: string) {
    unpinNamespace(path, native);
    rmSync(path, { force: true });
  },
};

export type AgentMethods = typeof methods;

export interface AgentCall {
  readonly id: number;
  readonly method: keyof AgentMethods;
  readonly parameters: unknown[];
}

export interface AgentAnswer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly message: string; readonly code: number };
}

async function answer({ id, method, parameters }: AgentCall): Promise<AgentAnswer> {
  try {
    const called = methods as Record<string, (...all: unknown[]) => unknown>;
    return { id, result: await called[method]?.(...parameters) };
  } catch (error) {
    return { id, error: { message: (error as Error).message, code: isRpcError(error) ? error.code : -1 } };
  }
}

process.on('message', (call: AgentCall) => void answer(call).then((reply) => process.send?.(reply)));
process.on('disconnect', () => process.exit());
process.send?.('ready');
