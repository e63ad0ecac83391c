import { Code, RpcError } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';

/** Names that are taken: kubelet may repeat a call whose answer it has not seen, and must not get a second pod for it. */
export class Names {
  readonly #owners = new Map<string, string>();
  readonly #what: string;

  constructor(what: string) {
    this.#what = what;
  }

  /** @throws {RpcError} ALREADY_EXISTS, with the id that has the name */
  assertFree(name: string): void {
    const owner = this.#owners.get(name);
    if (owner === undefined) return;
    throw new RpcError(
      Code.AlreadyExists,
      `the ${this.#what} name "${name}" is taken by ${owner}: remove that one first, or use another attempt number`,
    );
  }

  /** @throws {RpcError} ALREADY_EXISTS, with the id that has the name */
  take(name: string, owner: string): void {
    this.assertFree(name);
    this.#owners.set(name, owner);
  }

  /** Gives the name back if it is this owner's. */
  release(name: string, owner: string): void {
    if (this.#owners.get(name) === owner) this.#owners.delete(name);
  }
}

/** What makes a sandbox one of a kind for those who ask for it. */
export function sandboxName({ metadata }: cri.PodSandboxConfig): string {
  return `${metadata?.name ?? ''}_${metadata?.namespace ?? ''}_${metadata?.uid ?? ''}_${metadata?.attempt ?? 0}`;
}

/** A container's name within its sandbox. */
export function containerName(sandboxId: string, { metadata }: cri.ContainerConfig): string {
  return `${metadata?.name ?? ''}_${metadata?.attempt ?? 0} of pod ${sandboxId}`;
}
