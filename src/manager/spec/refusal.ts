import { Code, RpcError } from '../../grpc/index.ts';

/**
 * Refuses a request for what one of its fields says.
 * @param field its path, such as "config.linux.sysctls"
 * @throws {RpcError} always; INVALID_ARGUMENT unless another code is given
 */
export function refuse(field: string, why: string, code: Code = Code.InvalidArgument): never {
  throw new RpcError(code, `${field}: ${why}`);
}

/** Refuses texts that end early, or span lines, where they are written: a line of a file, a C string. */
export function refuseControlCharacters(field: string, text: string): void {
  if (/[\0-\x1f\x7f]/.test(text)) refuse(field, `${JSON.stringify(text)} contains control characters`);
}
