import { join } from 'node:path';

/** Where things of a pod and a container are; each path follows from an id, so that whatever a crash leaves is found. */
export class Layout {
  /** Content that lasts. */
  readonly root: string;
  /** What lasts until the next boot. */
  readonly state: string;

  constructor(root: string, state: string) {
    this.root = root;
    this.state = state;
  }

  get sandboxes(): string {
    return join(this.state, 'sandboxes');
  }

  /** The bundle of a sandbox's shim. */
  sandbox(id: string): string {
    return join(this.sandboxes, id);
  }

  get namespaces(): string {
    return join(this.state, 'netns');
  }

  networkNamespace(sandboxId: string): string {
    return join(this.namespaces, sandboxId);
  }

  get bundles(): string {
    return join(this.state, 'containers');
  }

  /** A container's bundle. */
  bundle(containerId: string): string {
    return join(this.bundles, containerId);
  }

  get writableLayers(): string {
    return join(this.root, 'containers');
  }

  /** What a container writes: `upper`, `work` and `volumes` are in it. */
  writableLayer(containerId: string): string {
    return join(this.writableLayers, containerId);
  }

  /** The files that all containers of a sandbox have. */
  sandboxFile(sandboxId: string, name: 'hosts' | 'hostname' | 'resolv.conf'): string {
    return join(this.sandbox(sandboxId), name);
  }
}
