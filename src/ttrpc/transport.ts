/** Who is at the other end, as the kernel knows it (SO_PEERCRED). */
export interface Peer {
  readonly uid: number;
  readonly pid: number;
}

/** Carries bytes to and from one peer, in order. What it is made of is its own affair: a node:net socket, a descriptor. */
export interface Transport {
  /** Undefined when the transport has no way to know. */
  readonly peer: Peer | undefined;

  /**
   * Names who is told what happens, from now on; it takes the place of the one before. Until `read(true)` no bytes are
   * delivered, but an end or a failure may be, even if it came earlier. Never calls the receiver before it returns.
   */
  attach(receiver: Receiver): void;

  /** Whether bytes are wanted. Those that are not stay in the kernel, where they hold the peer back. */
  read(wanted: boolean): void;

  /**
   * Sends what can be sent without waiting, and says how many bytes that was; the caller keeps the others, and sends them
   * after the receiver's `writable`. Never throws: a failure is told to the receiver's `closed`.
   */
  send(bytes: Buffer): number;

  /** Lets go of the connection. What `send` has taken still reaches a peer that reads. Nobody is told anything after this. */
  close(): void;
}

export interface Receiver {
  /** Bytes have come. They are the receiver's own: they do not change afterwards. */
  data(bytes: Buffer): void;

  /** The peer will send no more, but it still reads. */
  ended(): void;

  /** `send` will take bytes again. */
  writable(): void;

  /** The connection is gone: the peer closed it whole, or it failed. Nothing comes after this. */
  closed(error: Error | undefined): void;
}
