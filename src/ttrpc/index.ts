// ttRPC as containerd speaks it: gRPC's calls and statuses over a light framing, on a connection within one host.
export { CallContext } from './call-context.ts';
export { type CallOptions, Client, type ClientStream } from './client.ts';
export { Connection, type ConnectionState, type HeldCalls } from './connection.ts';
export type { Logger } from './logger.ts';
export { Metadata, type MetadataInit } from './metadata.ts';
export { connect, listen, SocketTransport } from './net.ts';
export { Server, type ServerOptions } from './server.ts';
export type { Handler, ServiceHandlers } from './service.ts';
export { Code, codeName, TtrpcError } from './status.ts';
export type { Peer, Receiver, Transport } from './transport.ts';
