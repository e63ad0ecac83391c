import { statSync } from 'node:fs';
import { Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import type { Init, introspection } from '../../wire/index.ts';
import { parseFilters } from './filter.ts';

/** What a program that asks containerd for its plugins finds here, by the names that they have there. */
const parts: readonly Init<introspection.Plugin>[] = [
  { type: 'io.containerd.grpc.v1', id: 'containers' },
  { type: 'io.containerd.grpc.v1', id: 'cri', requires: ['io.containerd.runtime.v2'] },
  { type: 'io.containerd.grpc.v1', id: 'events' },
  { type: 'io.containerd.grpc.v1', id: 'introspection' },
  { type: 'io.containerd.grpc.v1', id: 'namespaces' },
  { type: 'io.containerd.grpc.v1', id: 'tasks' },
  { type: 'io.containerd.grpc.v1', id: 'version' },
  { type: 'io.containerd.runtime.v2', id: 'task' },
  { type: 'io.containerd.snapshotter.v1', id: 'overlayfs' },
];

/** How Node calls processors and how Go, and so containerd, does. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

/** containerd.services.introspection.v1: what the server is made of. */
export function introspectionService(uuid: string): ServiceHandlers<typeof introspection.Introspection> {
  const platforms = [{ os: 'linux', architecture: architectures[process.arch] ?? process.arch }];
  return {
    Plugins: ({ filters }) => {
      const fits = parseFilters(filters);
      const isWanted = ({ type, id }: Init<introspection.Plugin>) =>
        fits(([name]) => (name === 'type' ? type : name === 'id' ? id : undefined));
      return { plugins: parts.filter(isWanted).map((part) => ({ ...part, platforms })) };
    },
    PluginInfo: ({ type, id, options }) => {
      const part = parts.find((one) => one.type === type && one.id === id);
      if (part === undefined)
        throw new RpcError(Code.NotFound, `there is no plugin ${type}.${id}: "ctr plugins ls" lists them`);
      if (options !== undefined)
        throw new RpcError(Code.Unimplemented, `the plugin ${type}.${id} tells nothing more of itself`);
      return { plugin: { ...part, platforms } };
    },
    Server: () => ({ uuid, pid: process.pid, pidns: statSync('/proc/self/ns/pid').ino }),
  };
}
