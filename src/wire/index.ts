// The messages and services that peers put on the wire; one namespace a package of proto/.
export * as berth from './generated/berth.v1.ts';
export * as bootstrap from './generated/containerd.runtime.bootstrap.v1.ts';
export * as cgroupsV1 from './generated/io.containerd.cgroups.v1.ts';
export * as cgroupsV2 from './generated/io.containerd.cgroups.v2.ts';
export * as containerRecords from './generated/containerd.services.containers.v1.ts';
export * as cri from './generated/runtime.v1.ts';
export * as envelopes from './generated/ttrpc.ts';
export * as eventService from './generated/containerd.services.events.v1.ts';
export * as events from './generated/containerd.events.ts';
export * as forward from './generated/containerd.services.events.ttrpc.v1.ts';
export * as introspection from './generated/containerd.services.introspection.v1.ts';
export * as namespaces from './generated/containerd.services.namespaces.v1.ts';
export * as processes from './generated/containerd.v1.types.ts';
export * as protobuf from './generated/google.protobuf.ts';
export * as runc from './generated/containerd.runc.v1.ts';
export * as runtimeOptions from './generated/runtimeoptions.v1.ts';
export * as sandbox from './generated/containerd.runtime.sandbox.v1.ts';
export * as shim from './generated/berth.shim.v1.ts';
export * as status from './generated/google.rpc.ts';
export * as task from './generated/containerd.task.v3.ts';
export * as tasks from './generated/containerd.services.tasks.v1.ts';
export * as types from './generated/containerd.types.ts';
export * as version from './generated/containerd.services.version.v1.ts';

export { AnyTypeError, holds, ociType, packAny, packJson, unpackAny, unpackJson } from './any.ts';
export { keepEncoded } from './codec.ts';
export type { Codec, Field, Init, Scalar } from './codec.ts';
export { enumFields } from './generated/enum-fields.ts';
export { DecodeError, Reader } from './reader.ts';
export type {
  AnyMethod,
  MethodDefinition,
  MethodKind,
  MethodNames,
  RequestOf,
  ResponseOf,
  ServiceDefinition,
} from './service.ts';
export { method, service } from './service.ts';
export { eventsV1, namespaceKey, sandboxV1, shimV1, taskV2, taskV3 } from './services.ts';
export { fromTimestamp, nowNanoseconds, toTimestamp } from './timestamp.ts';
export { Writer } from './writer.ts';
