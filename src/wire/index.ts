// The messages and services that peers put on the wire; one namespace a package of proto/.
export * as bootstrap from './generated/containerd.runtime.bootstrap.v1.ts';
export * as cgroupsV1 from './generated/io.containerd.cgroups.v1.ts';
export * as cgroupsV2 from './generated/io.containerd.cgroups.v2.ts';
export * as envelopes from './generated/ttrpc.ts';
export * as events from './generated/containerd.events.ts';
export * as forward from './generated/containerd.services.events.ttrpc.v1.ts';
export * as processes from './generated/containerd.v1.types.ts';
export * as protobuf from './generated/google.protobuf.ts';
export * as runc from './generated/containerd.runc.v1.ts';
export * as runtimeOptions from './generated/runtimeoptions.v1.ts';
export * as sandbox from './generated/containerd.runtime.sandbox.v1.ts';
export * as shim from './generated/berth.shim.v1.ts';
export * as task from './generated/containerd.task.v3.ts';
export * as types from './generated/containerd.types.ts';

export { AnyTypeError, holds, ociType, packAny, packJson, unpackAny, unpackJson } from './any.ts';
export type { Codec, Init } from './codec.ts';
export { DecodeError, Reader } from './reader.ts';
export type { AnyMethod, MethodDefinition, MethodKind, ServiceDefinition } from './service.ts';
export { method, service } from './service.ts';
export { eventsV1, namespaceKey, sandboxV1, shimV1, taskV2, taskV3 } from './services.ts';
export { fromTimestamp, toTimestamp } from './timestamp.ts';
export { Writer } from './writer.ts';
