import { constants } from 'node:os';
import { type HostFacts, isKernelAtLeast } from './host.ts';

/** `linux.seccomp` of config.json. */
export interface Seccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[];
  flags?: string[];
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: SeccompRule[];
}

export interface SeccompRule {
  names: string[];
  action: string;
  errnoRet?: number;
  args?: { index: number; value: number; valueTwo: number; op: string }[];
}

/** What a profile's conditions ask for. */
export interface SeccompPlace {
  /** As in image configurations: "amd64". */
  readonly architecture: string;
  readonly kernel: HostFacts['kernel'];
  /** The container's, as "CAP_CHOWN". */
  readonly capabilities: readonly string[];
}

/** A profile that cannot be used; the message says where and why. */
export class SeccompProfileError extends Error {
  override readonly name = 'SeccompProfileError';
}

const architectures: Readonly<Record<string, string>> = {
  '386': 'SCMP_ARCH_X86',
  amd64: 'SCMP_ARCH_X86_64',
  arm: 'SCMP_ARCH_ARM',
  arm64: 'SCMP_ARCH_AARCH64',
  loong64: 'SCMP_ARCH_LOONGARCH64',
  ppc64le: 'SCMP_ARCH_PPC64LE',
  riscv64: 'SCMP_ARCH_RISCV64',
  s390x: 'SCMP_ARCH_S390X',
};
/** In conditions the 32-bit one has another name than in images. */
const conditionNames: Readonly<Record<string, string>> = { '386': 'x86' };

/** Actions that take an error number with them. */
const withErrno = new Set(['SCMP_ACT_ERRNO', 'SCMP_ACT_TRACE']);

/**
 * Turns a profile as Docker, Podman and containers-common write it into what an OCI runtime takes: rules whose
 * conditions (`includes`, `excludes`: architectures, capabilities, least kernel) do not fit the place are left out,
 * `archMap` becomes the list of this machine's architectures, and names of errors become numbers. A profile that is in
 * the runtime's form already stays as it is.
 * @param profile what JSON.parse gave
 * @throws {SeccompProfileError}
 */
export function translateSeccomp(profile: unknown, place: SeccompPlace): Seccomp {
  const fields = new Fields(profile, 'the profile');
  const defaultAction = fields.text('defaultAction');
  if (defaultAction === undefined) throw new SeccompProfileError('the profile has no defaultAction');
  const defaultErrnoRet = errorNumber(fields, 'defaultErrnoRet', 'defaultErrno', defaultAction);
  const named = fields.texts('architectures');
  const mapped = mappedArchitectures(fields, place.architecture);
  if (named.length > 0 && mapped !== undefined) {
    throw new SeccompProfileError('the profile has both architectures and archMap, of which one is meant');
  }
  const listed = mapped ?? named;
  const flags = fields.texts('flags');
  const listenerPath = fields.text('listenerPath');
  const listenerMetadata = fields.text('listenerMetadata');
  const syscalls = fields.list('syscalls').flatMap((rule) => translateRule(rule, place));
  return {
    defaultAction,
    ...(defaultErrnoRet !== undefined && { defaultErrnoRet }),
    ...(listed.length > 0 && { architectures: listed }),
    ...(flags.length > 0 && { flags }),
    ...(listenerPath !== undefined && { listenerPath }),
    ...(listenerMetadata !== undefined && { listenerMetadata }),
    ...(syscalls.length > 0 && { syscalls }),
  };
}

/**
 * This machine's architecture and those whose programs it runs too; none where the map does not know it. undefined
 * without a map.
 */
function mappedArchitectures(fields: Fields, architecture: string): string[] | undefined {
  const entries = fields.list('archMap');
  if (entries.length === 0) return undefined;
  const entry = entries.find((candidate) => candidate.text('architecture') === architectures[architecture]);
  return entry === undefined ? [] : [entry.text('architecture') ?? '', ...entry.texts('subArchitectures')];
}

function translateRule(rule: Fields, place: SeccompPlace): SeccompRule[] {
  if (!applies(rule.part('includes'), rule.part('excludes'), place)) return [];
  const single = rule.text('name');
  const names = [...(single === undefined || single === '' ? [] : [single]), ...rule.texts('names')];
  const action = rule.text('action');
  if (names.length === 0 || action === undefined) {
    throw new SeccompProfileError(`${rule.what} has no names or no action`);
  }
  const errnoRet = errorNumber(rule, 'errnoRet', 'errno', action);
  const args = rule.list('args').map((argument) => ({
    index: argument.number('index') ?? 0,
    value: argument.number('value') ?? 0,
    valueTwo: argument.number('valueTwo') ?? 0,
    op: argument.text('op') ?? '',
  }));
  return [{ names, action, ...(errnoRet !== undefined && { errnoRet }), ...(args.length > 0 && { args }) }];
}

function applies(includes: Fields, excludes: Fields, place: SeccompPlace): boolean {
  const architecture = conditionNames[place.architecture] ?? place.architecture;
  const only = includes.texts('arches');
  const leastKernel = includes.text('minKernel');
  const firstOther = excludes.text('minKernel');
  return (
    (only.length === 0 || only.includes(architecture)) &&
    includes.texts('caps').every((name) => place.capabilities.includes(name)) &&
    (leastKernel === undefined || reaches(place.kernel, leastKernel)) &&
    !excludes.texts('arches').includes(architecture) &&
    !excludes.texts('caps').some((name) => place.capabilities.includes(name)) &&
    (firstOther === undefined || !reaches(place.kernel, firstOther))
  );
}

function reaches(kernel: SeccompPlace['kernel'], text: string): boolean {
  const [, major, minor] = /^([0-9]+)\.([0-9]+)$/.exec(text) ?? [];
  if (major === undefined) throw new SeccompProfileError(`the profile's minKernel "${text}" is no version like "4.8"`);
  return isKernelAtLeast(kernel, Number(major), Number(minor));
}

/** The name counts where both are given, as in Podman. */
function errorNumber(fields: Fields, numberKey: string, nameKey: string, action: string): number | undefined {
  const name = fields.text(nameKey);
  if (!withErrno.has(action)) return undefined;
  if (name === undefined || name === '') return fields.number(numberKey);
  const number = (constants.errno as Partial<Record<string, number>>)[name];
  if (number === undefined) throw new SeccompProfileError(`${fields.what} has the unknown error "${name}"`);
  return number;
}

/** An object of the profile whose fields are what they should be, or absent; null counts as absent. */
class Fields {
  readonly what: string;
  readonly #values: Partial<Record<string, unknown>>;

  constructor(value: unknown, what: string) {
    this.what = what;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new SeccompProfileError(`${what} is no JSON object`);
    }
    this.#values = value;
  }

  text(key: string): string | undefined {
    const value = this.#get(key);
    if (value === undefined || typeof value === 'string') return value;
    return this.#refuse(key, 'text');
  }

  /** Exact ones only: JavaScript would round others in silence. */
  number(key: string): number | undefined {
    const value = this.#get(key);
    if (value === undefined || (Number.isSafeInteger(value) && Number(value) >= 0)) return value as number | undefined;
    return this.#refuse(key, 'a whole number between 0 and 2^53');
  }

  texts(key: string): string[] {
    return this.#array(key).map((value) => (typeof value === 'string' ? value : this.#refuse(key, 'a list of texts')));
  }

  list(key: string): Fields[] {
    return this.#array(key).map((value, index) => new Fields(value, `${this.what}'s ${key}[${index}]`));
  }

  part(key: string): Fields {
    return new Fields(this.#get(key) ?? {}, `${this.what}'s ${key}`);
  }

  #array(key: string): unknown[] {
    const value = this.#get(key) ?? [];
    return Array.isArray(value) ? (value as unknown[]) : this.#refuse(key, 'a list');
  }

  #get(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? (this.#values[key] ?? undefined) : undefined;
  }

  #refuse(key: string, wanted: string): never {
    throw new SeccompProfileError(`${this.what}'s ${key} is not ${wanted}`);
  }
}
