import { statSync } from 'node:fs';
import { toTimestamp, type Init, type shim } from '../wire/index.ts';
import type { AttachService } from './attach.ts';
import type { Container } from './container.ts';
import type { Containers } from './containers.ts';
import type { ShimContext } from './context.ts';
import { doing, waiting } from './handlers.ts';
import type { Replacement } from './replacement.ts';
import { spoolPath } from './stdio.ts';
import { version } from './version.ts';

/** berth.shim.v1.Shim: what no other shim has. */
export class BerthService {
  readonly #containers: Containers;
  readonly #context: ShimContext;
  readonly #attach: AttachService;
  readonly #replacement: Replacement;

  constructor(containers: Containers, context: ShimContext, attach: AttachService, replacement: Replacement) {
    this.#containers = containers;
    this.#context = context;
    this.#attach = attach;
    this.#replacement = replacement;
  }

  handlers() {
    const wrap = doing(this.#context.activity);
    return {
      Attach: wrap(({ id, execId, stdin, stdout, stderr }: shim.AttachRequest) => {
        return this.#attach.offer(id, this.#containers.get(id).process(execId), { stdin, stdout, stderr });
      }),
      ReopenLogs: wrap(({ id }: shim.ReopenLogsRequest) => {
        const container = this.#containers.get(id);
        for (const process of [container.init, ...container.execs]) process.reopenLogs();
        return {};
      }),
      // Answered by the version that takes over: this one's call only ends when that could not be.
      Upgrade: waiting(async () => (this.#replacement.hasUpgraded ? {} : await this.#replacement.upgrade())),
      Info: wrap(() => this.#info()),
    };
  }

  #info(): Init<shim.InfoResponse> {
    const { record, events } = this.#context;
    return {
      version,
      pid: process.pid,
      startedAt: toTimestamp(BigInt(record.startedAt)),
      upgrades: record.upgrades,
      woken: record.wakes,
      host: `${process.release.name} ${process.version}`,
      pendingEvents: events.pending,
      containers: [...this.#containers].map((container) => this.#containerInfo(container)),
    };
  }

  #containerInfo(container: Container): Init<shim.ContainerInfo> {
    const { id, bundle, init } = container.record;
    return {
      id,
      pid: init.exit === null ? init.pid : 0,
      bundle,
      execs: container.execs.size,
      attached: this.#attach.count(id),
      spooledBytes: spooledBytes(container),
    };
  }
}

function spooledBytes(container: Container): number {
  let bytes = 0;
  for (const { record } of [container.init, ...container.execs]) {
    for (const output of record.outputs) {
      if (!output.spooling) continue;
      const file = statSync(spoolPath(container.record.bundle, record.execId, output.stream), {
        throwIfNoEntry: false,
      });
      bytes += file?.size ?? 0;
    }
  }
  return bytes;
}
