import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerRecord, Layout, SandboxRecord } from '../pods/index.ts';

/** 64-bit numbers become decimal text, bytes base64. */
function json(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) =>
    typeof one === 'bigint' ? one.toString() : one instanceof Uint8Array ? Buffer.from(one).toString('base64') : one,
  );
}

/** What PodSandboxStatus adds when it is asked to be verbose: under `info`, as the peers have it, JSON. */
export function sandboxInfo(record: SandboxRecord): Record<string, string> {
  const { pid, state, shim, netnsPath, networkResult, runtime, config, hostname } = record;
  return {
    info: json({
      pid,
      processStatus: state,
      netNamespaceClosed: record.networkReleased,
      networkNamespace: netnsPath,
      runtimeHandler: record.runtimeHandler,
      runtimeType: runtime,
      hostname,
      shim,
      cniResult: networkResult,
      config,
    }),
  };
}

/** The same for ContainerStatus; with the runtime's configuration, if the container still has one. */
export function containerInfo(record: ContainerRecord, layout: Layout): Record<string, string> {
  const { id, sandboxId, pid, config, imageId, cgroups, stop, state } = record;
  return {
    info: json({
      sandboxID: sandboxId,
      pid,
      removing: state === 'removing',
      state,
      imageId,
      bundle: layout.bundle(id),
      writableLayer: layout.writableLayer(id),
      cgroups,
      stop,
      config,
      runtimeSpec: runtimeSpec(join(layout.bundle(id), 'config.json')),
    }),
  };
}

function runtimeSpec(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as unknown;
  } catch {
    return null;
  }
}
