import { release } from 'node:os';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import { toTimestamp, type Init, type sandbox } from '../wire/index.ts';
import type { Containers } from './containers.ts';
import type { ShimContext } from './context.ts';
import { doing, waiting } from './handlers.ts';
import { checkName } from './ids.ts';
import { withinMs } from './lock.ts';
import { sandboxMetrics } from './metrics.ts';
import type { SandboxRecord } from './record.ts';
import type { SandboxHolder } from './sandbox-holder.ts';
import { newSandboxRecord, type Sandbox } from './sandbox.ts';
import { version } from './version.ts';

const sigterm = 15;
const ready = 'SANDBOX_READY';
const notReady = 'SANDBOX_NOTREADY';

/** containerd.runtime.sandbox.v1.Sandbox: one sandbox a shim. */
export class SandboxService {
  readonly #holder: SandboxHolder;
  readonly #containers: Containers;
  readonly #context: ShimContext;
  readonly #shutdown: () => void;

  constructor(holder: SandboxHolder, containers: Containers, context: ShimContext, shutdown: () => void) {
    this.#holder = holder;
    this.#containers = containers;
    this.#context = context;
    this.#shutdown = shutdown;
  }

  handlers() {
    const wrap = doing(this.#context.activity);
    return {
      CreateSandbox: wrap((request: sandbox.CreateSandboxRequest) => this.#create(request)),
      StartSandbox: wrap((request: sandbox.StartSandboxRequest) => {
        const record = this.#get(request.sandboxId).start();
        return { pid: record.pid, createdAt: toTimestamp(BigInt(record.createdAt)) };
      }),
      Platform: wrap(() => ({ platform: { os: 'linux', architecture: goArchitecture(), osVersion: release() } })),
      StopSandbox: wrap(async (request: sandbox.StopSandboxRequest) => {
        await this.#stop(this.#get(request.sandboxId), request.timeoutSecs);
        return {};
      }),
      WaitSandbox: waiting(async (request: sandbox.WaitSandboxRequest, { signal }) => {
        const exit = await this.#get(request.sandboxId).wait(signal);
        return { exitStatus: exit.status, exitedAt: toTimestamp(exit.at) };
      }),
      SandboxStatus: wrap((request: sandbox.SandboxStatusRequest) =>
        this.#status(this.#get(request.sandboxId).record, request.verbose),
      ),
      PingSandbox: wrap((request: sandbox.PingRequest) => {
        this.#get(request.sandboxId);
        return {};
      }),
      ShutdownSandbox: wrap(async (request: sandbox.ShutdownSandboxRequest) => {
        const held = this.#get(request.sandboxId);
        await this.#containers.destroyAll();
        await held.stop();
        this.#shutdown();
        return {};
      }),
      SandboxMetrics: wrap((request: sandbox.SandboxMetricsRequest) => {
        const { record } = this.#get(request.sandboxId);
        return { metrics: sandboxMetrics(record.id, [...this.#containers], this.#context.now()) };
      }),
    };
  }

  #create(request: sandbox.CreateSandboxRequest): Record<string, never> {
    const held = this.#holder.sandbox;
    if (held !== undefined) {
      throw new TtrpcError(
        Code.AlreadyExists,
        `sandbox "${held.record.id}" already exists in this shim: start another shim for "${request.sandboxId}"`,
      );
    }
    checkName(request.sandboxId, 'sandbox id');
    const bundlePath = request.bundlePath === '' ? this.#context.record.bundle : request.bundlePath;
    this.#holder.create(newSandboxRecord({ ...request, bundlePath }));
    return {};
  }

  /** @throws TtrpcError FAILED_PRECONDITION before CreateSandbox, NOT_FOUND for another id */
  #get(id: string): Sandbox {
    const held = this.#holder.sandbox;
    if (held === undefined)
      throw new TtrpcError(
        Code.FailedPrecondition,
        `failed precondition: sandbox "${id}" is not created yet: call CreateSandbox first`,
      );
    if (held.record.id !== id)
      throw new TtrpcError(Code.NotFound, `sandbox "${id}" is not here: this shim has sandbox "${held.record.id}"`);
    return held;
  }

  /** Members that still run get SIGTERM and the time that the caller grants, then SIGKILL. */
  async #stop(held: Sandbox, timeoutSeconds: number): Promise<void> {
    await this.#containers.allCreated();
    const running = [...this.#containers].filter(
      (container) => container.init.state === 'running' && container.init.record.exit === null,
    );
    if (timeoutSeconds > 0) {
      for (const container of running) this.#signal(() => container.init.signal(sigterm));
      await withinMs(Promise.all(running.map((container) => container.init.wait())), timeoutSeconds * 1000);
    }
    await Promise.all([...this.#containers].map((container) => container.end()));
    await held.stop();
  }

  #signal(send: () => void): void {
    try {
      send();
    } catch {
      // it has ended in between
    }
  }

  #status(record: SandboxRecord, verbose: boolean): Init<sandbox.SandboxStatusResponse> {
    return {
      sandboxId: record.id,
      pid: record.pid,
      state: record.state === 'ready' ? ready : notReady,
      info: verbose ? this.#info(record) : {},
      ...(record.createdAt === '' ? {} : { createdAt: toTimestamp(BigInt(record.createdAt)) }),
      ...(record.exitedAt === '' ? {} : { exitedAt: toTimestamp(BigInt(record.exitedAt)) }),
    };
  }

  #info(record: SandboxRecord): Record<string, string> {
    return {
      state: record.state,
      pid: String(record.pid),
      networkSandboxPath: record.netnsPath,
      shimVersion: version,
      shimPid: String(process.pid),
      bundle: record.bundle,
      containers: [...this.#containers].map(({ id }) => id).join(','),
    };
  }
}

/** Node's name of the processor, as Go and OCI images spell it. */
function goArchitecture(): string {
  const names: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
  return names[process.arch] ?? process.arch;
}
