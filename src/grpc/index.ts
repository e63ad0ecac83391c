// gRPC over unix sockets: the services of src/wire on grpc-js. Knows nothing of containers.
export { GrpcClient, type CallOptions } from './client.ts';
export type { CallContext, Handler, ServiceHandlers } from './definition.ts';
export { GrpcServer, type CallObserver } from './server.ts';
export { Code, codeName, isRpcError, RpcError, toRpcError } from './status.ts';
