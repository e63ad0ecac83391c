import { bootstrap, holds, protobuf, runc } from '../wire/index.ts';

/** How whoever runs `start` wants to be answered; each generation of containerd has its own form. */
export type BootstrapForm =
  /** containerd 1.6 and before: the address alone. */
  | { kind: 'address' }
  /** containerd 1.7 to 2.2: JSON with the version of the task service. */
  | { kind: 'json'; version: 2 | 3 }
  /** containerd 2.3 and later: BootstrapResult in protobuf. */
  | { kind: 'protobuf' };

export interface BootstrapInput {
  form: BootstrapForm;
  /** Runtime options that came along. */
  options: runc.Options | undefined;
  socketFolder: string | undefined;
  debug: boolean;
  eventsAddress: string | undefined;
}

const protocolVersion = 3;

/**
 * Reads what `start` gets on stdin. Up to containerd 2.2 that is an Any with the runtime's options, or nothing; from 2.3 on
 * BootstrapParams. Both begin with a string in field 1: it is BootstrapParams when that string is the id on the command line.
 */
export function readBootstrapInput(
  bytes: Uint8Array,
  id: string,
  namespace: string,
  maxShimVersion: number,
): BootstrapInput {
  const params = tryDecode(() => bootstrap.BootstrapParams.decode(bytes));
  if (params !== undefined && bytes.length > 0 && params.instanceId === id && params.namespace === namespace) {
    return {
      form: { kind: 'protobuf' },
      options: optionsIn(params.extensions.map(({ value }) => value)),
      socketFolder: params.socketDir,
      debug: params.logLevel <= bootstrap.LogLevel.LOG_LEVEL_DEBUG,
      eventsAddress: params.containerdTtrpcAddress === '' ? undefined : params.containerdTtrpcAddress,
    };
  }
  const any = bytes.length === 0 ? undefined : tryDecode(() => protobuf.Any.decode(bytes));
  const form: BootstrapForm =
    maxShimVersion < 2 ? { kind: 'address' } : { kind: 'json', version: maxShimVersion >= 3 ? 3 : 2 };
  return { form, options: optionsIn([any]), socketFolder: undefined, debug: false, eventsAddress: undefined };
}

/** The answer of `start`, in the caller's form. */
export function bootstrapAnswer(form: BootstrapForm, address: string): Buffer {
  switch (form.kind) {
    case 'address':
      return Buffer.from(address);
    case 'json':
      return Buffer.from(JSON.stringify({ version: form.version, address, protocol: 'ttrpc' }));
    case 'protobuf':
      return bootstrap.BootstrapResult.encode({ version: protocolVersion, address, protocol: 'ttrpc' });
  }
}

function optionsIn(anys: readonly (protobuf.Any | undefined)[]): runc.Options | undefined {
  const any = anys.find((candidate) => candidate !== undefined && holds(candidate, runc.Options));
  return any === undefined ? undefined : tryDecode(() => runc.Options.decode(any.value));
}

function tryDecode<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}
