import { Code, RpcError } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';
import { type HostFacts, updateResources } from '../spec/index.ts';
import type { ContainerRecord } from './container-record.ts';
import type { ContainerRecords } from './container-records.ts';
import type { PodShims } from './pod-shims.ts';
import type { SpecFile } from './spec-file.ts';

/** Changes the resources of containers that are there. */
export class ContainerResources {
  readonly #records: ContainerRecords;
  readonly #shims: PodShims;
  readonly #specFile: SpecFile;
  readonly #host: HostFacts;

  constructor(records: ContainerRecords, shims: PodShims, specFile: SpecFile, host: HostFacts) {
    this.#records = records;
    this.#shims = shims;
    this.#specFile = specFile;
    this.#host = host;
  }

  /**
   * Changes what the request names and leaves the rest. The container's lock is held.
   * @throws {RpcError} FAILED_PRECONDITION for a container that has ended; what the runtime says
   */
  async update(record: ContainerRecord, resources: cri.LinuxContainerResources): Promise<void> {
    const { id, state, sandboxId } = record;
    if (state !== 'created' && state !== 'running') {
      throw new RpcError(Code.FailedPrecondition, `container ${id} is ${state}: its resources cannot be changed`);
    }
    const change = updateResources(resources, this.#host) as Plain;
    if (state === 'running') await (await this.#shims.get(sandboxId)).update(id, change);
    const spec = await this.#specFile.read(id);
    const linux = (spec.linux ??= {});
    linux['resources'] = merged(linux['resources'] as Plain | undefined, change);
    await this.#specFile.write(id, spec);
    this.#records.update(id, { resources: mergedResources(record.resources, resources) });
  }
}

type Plain = Record<string, unknown>;

const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What the change names, in what there was. */
function merged(before: Plain | undefined, change: Plain): Plain {
  const result: Plain = { ...before };
  for (const [key, value] of Object.entries(change)) {
    const old = result[key];
    result[key] = isPlain(value) && isPlain(old) ? merged(old, value) : value;
  }
  return result;
}

/** A zero, an empty text and an empty list mean: as it was. */
function mergedResources(
  before: cri.LinuxContainerResources | undefined,
  change: cri.LinuxContainerResources,
): cri.LinuxContainerResources {
  if (before === undefined) return change;
  const isSet = ([, value]: [string, unknown]) =>
    value !== 0n && value !== '' && value !== 0 && value !== undefined && !(Array.isArray(value) && value.length === 0);
  const given = Object.fromEntries(Object.entries(change).filter(isSet)) as Partial<cri.LinuxContainerResources>;
  return { ...before, ...given, unified: { ...before.unified, ...change.unified } };
}
