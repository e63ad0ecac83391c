import { type CallContext, Code, RpcError } from '../../grpc/index.ts';
import { criNamespace } from './views.ts';

/** The metadata key of gRPC calls; ttRPC's is another. */
export const namespaceKey = 'containerd-namespace';

/** As containerd has them for namespaces and ids. */
const identifier = /^[A-Za-z0-9]+(?:[-._][A-Za-z0-9]+)*$/;
const maxIdentifierLength = 76;

export function isIdentifier(text: string): boolean {
  return text.length <= maxIdentifierLength && identifier.test(text);
}

/** @throws {RpcError} INVALID_ARGUMENT when the call names no namespace, or a wrong one */
export function namespaceOfCall(context: CallContext): string {
  const namespace = context.metadata(namespaceKey) ?? '';
  if (namespace === '') {
    throw new RpcError(
      Code.InvalidArgument,
      `the call names no namespace: send ${namespaceKey}, which is "${criNamespace}" (ctr -n)`,
    );
  }
  if (!isIdentifier(namespace))
    throw new RpcError(Code.InvalidArgument, `${JSON.stringify(namespace)} is no namespace`);
  return namespace;
}

/** Whether the call is about what CRI has made; there is nothing in any other namespace. */
export function isAboutCri(context: CallContext): boolean {
  return namespaceOfCall(context) === criNamespace;
}
