import { closeSync } from 'node:fs';
import type { NativeAddon } from '../linux/index.ts';
import type { Peer, Receiver, Transport } from '../ttrpc/index.ts';
import { pollIn, pollOut, pollTrouble, type Reactor } from './reactor.ts';

const chunkBytes = 64 * 1024;

/**
 * A connected socket by its descriptor. Nothing of it is in flight anywhere but in the kernel and in what it has handed to its
 * receiver, so that another program image can go on with the descriptor.
 */
export class DescriptorTransport implements Transport {
  readonly fd: number;
  readonly peer: Peer | undefined;
  readonly #native: NativeAddon;
  readonly #reactor: Reactor;
  readonly #id: number;
  #receiver: Receiver | undefined;
  #reading = false;
  #writing = false;
  /** The peer has ended its side: all that is still looked for is that it goes altogether. */
  #ended = false;
  #open = true;

  constructor(fd: number, native: NativeAddon, reactor: Reactor) {
    this.fd = fd;
    this.#native = native;
    this.#reactor = reactor;
    this.#id = reactor.nextId();
    this.peer = native.peerCredentials(fd);
  }

  attach(receiver: Receiver): void {
    this.#receiver = receiver;
  }

  read(wanted: boolean): void {
    this.#reading = wanted;
    this.#arm();
  }

  send(bytes: Buffer): number {
    if (!this.#open) return bytes.length;
    try {
      const sent = this.#native.write(this.fd, bytes);
      if (sent === bytes.length) return sent;
      this.#writing = true;
      this.#arm();
      return Math.max(sent, 0);
    } catch (error) {
      // The contract: failures are told later, not thrown. What is not sent then no longer matters.
      queueMicrotask(() => {
        this.#lose(error instanceof Error ? error : new Error(String(error)));
      });
      return bytes.length;
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#receiver = undefined;
    this.#reactor.unwatch(this.#id);
    closeSync(this.fd);
  }

  #arm(): void {
    if (!this.#open) return;
    const bits = (this.#reading && !this.#ended ? pollIn : 0) | (this.#writing ? pollOut : 0);
    // Even without bits, a watch tells when the peer is gone.
    if (bits === 0 && !this.#ended) this.#reactor.unwatch(this.#id);
    else
      this.#reactor.watch(this.#id, this.fd, bits, (ready) => {
        this.#onReady(ready);
      });
  }

  #onReady(bits: number): void {
    if (this.#writing && (bits & (pollOut | pollTrouble)) !== 0) {
      this.#writing = false;
      this.#receiver?.writable();
    }
    if (this.#reading && !this.#ended && (bits & (pollIn | pollTrouble)) !== 0) this.#receive();
    if (this.#ended && (bits & pollTrouble) !== 0) this.#lose(undefined);
    this.#arm();
  }

  #receive(): void {
    const chunk = Buffer.allocUnsafeSlow(chunkBytes);
    let count: number;
    try {
      count = this.#native.read(this.fd, chunk);
    } catch (error) {
      this.#lose(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (count < 0) return;
    if (count > 0) {
      // A view keeps its whole chunk alive: what is small is copied out.
      this.#receiver?.data(count > chunkBytes / 2 ? chunk.subarray(0, count) : Buffer.from(chunk.subarray(0, count)));
      return;
    }
    this.#ended = true;
    this.#receiver?.ended();
  }

  #lose(error: Error | undefined): void {
    if (!this.#open) return;
    const receiver = this.#receiver;
    this.close();
    receiver?.closed(error);
  }
}
