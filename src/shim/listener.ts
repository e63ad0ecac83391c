import { closeSync } from 'node:fs';
import type { NativeAddon } from '../linux/index.ts';
import { DescriptorTransport } from './descriptor-transport.ts';
import { pollIn, type Reactor } from './reactor.ts';

const retryMs = 100;

/** Takes connections from a listening socket. */
export class Listener {
  readonly fd: number;
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #id: number;

  constructor(fd: number, native: NativeAddon, reactor: Reactor) {
    this.fd = fd;
    this.#native = native;
    this.#reactor = reactor;
    this.#id = reactor.nextId();
  }

  listen(onConnection: (transport: DescriptorTransport) => void): void {
    this.#reactor.watch(this.#id, this.fd, pollIn, () => {
      try {
        for (let fd = this.#native.accept(this.fd); fd >= 0; fd = this.#native.accept(this.fd)) {
          onConnection(new DescriptorTransport(fd, this.#native, this.#reactor));
        }
      } catch (error) {
        // No descriptors or memory for one more, for now: whoever waits is asked in again a little later.
        setTimeout(() => {
          this.listen(onConnection);
        }, retryMs);
        throw error;
      }
      this.listen(onConnection);
    });
  }

  /** Stops taking connections; those that come wait. */
  pause(): void {
    this.#reactor.unwatch(this.#id);
  }

  close(): void {
    this.pause();
    closeSync(this.fd);
  }
}
