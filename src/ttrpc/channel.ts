import { type Frame, FrameError, FrameParser, type OversizedFrame } from './frame.ts';
import type { Peer, Receiver, Transport } from './transport.ts';

/** When this many bytes wait to be sent, the peer reads too slowly and is read from no more, until half are gone. */
const outboxLimitBytes = 8 * 1024 * 1024;

/** Why frames are not taken at present; any number of reasons may hold at once. */
export const Hold = {
  /** The server is frozen. */
  frozen: 1,
  /** The peer does not read what it is sent. */
  outbox: 2,
  /** A stream's messages are not consumed as fast as they come. */
  stream: 4,
  /** The connection is being set up. */
  starting: 8,
} as const;

/** What happens on a channel. */
export interface FrameHandler {
  frame(frame: Frame | OversizedFrame): void;

  /** The peer will send no more. It has sent whole frames only. */
  ended(): void;

  /**
   * The channel is of no more use. The reason is for a log; it is a fault when the peer broke the protocol or stopped in the
   * middle of something.
   */
  closed(reason: string, isFault: boolean): void;

  /** All that was to be sent has been sent. */
  flushed(): void;
}

/** What another channel needs to continue this one's work. */
export interface ChannelState {
  /** Received, not parsed. */
  readonly inbox: Buffer;
  /** Not sent yet; may begin in the middle of a frame. */
  readonly outbox: Buffer;
  /** Data of an oversized frame that is still to come and is to be passed over. */
  readonly discardBytes: number;
}

/** Frames to and from one peer: the part that both ends of a connection have in common. */
export class Channel implements Receiver {
  readonly #transport: Transport;
  readonly #handler: FrameHandler;
  readonly #parser: FrameParser;
  #outbox: Buffer[] = [];
  #outboxBytes = 0;
  /** The transport has taken less than it was given, and will say when it takes more. */
  #blocked = false;
  #silent = false;
  #holds = 0;
  #open = true;
  #parsing = false;
  #ended = false;
  #drained: (() => void)[] = [];

  constructor(transport: Transport, handler: FrameHandler, state?: ChannelState) {
    this.#transport = transport;
    this.#handler = handler;
    this.#parser = new FrameParser(state?.discardBytes);
    if (state?.inbox.length) this.#parser.push(state.inbox);
    if (state?.outbox.length) this.#queue(state.outbox);
  }

  get peer(): Peer | undefined {
    return this.#transport.peer;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** No frame has come in part, and nothing waits to be sent. */
  get isQuiet(): boolean {
    return this.#parser.atBoundary && this.#outboxBytes === 0;
  }

  get isFlushed(): boolean {
    return this.#outboxBytes === 0;
  }

  /** Starts to work. Frames that are there already are handled before this returns. */
  start(): void {
    this.#transport.attach(this);
    this.#flush();
    this.#resume();
  }

  /** Sends the frame, now or as soon as the peer takes it. */
  send(frame: Buffer): void {
    if (!this.#open) return;
    if (this.#outboxBytes === 0 && !this.#silent && !this.#blocked) {
      const taken = this.#transport.send(frame);
      if (taken < frame.length && this.#isAlive()) {
        this.#blocked = true;
        this.#queue(frame.subarray(taken));
      }
    } else {
      this.#queue(frame);
    }
    if (this.#outboxBytes > outboxLimitBytes) this.hold(Hold.outbox);
  }

  /** Resolves once so little waits to be sent that more may be added; at once when the channel is closed. */
  async drained(): Promise<void> {
    while (this.#open && this.#outboxBytes > outboxLimitBytes / 2) {
      await new Promise<void>((resolve) => this.#drained.push(resolve));
    }
  }

  /** Takes no frame from now on; bytes wait, here or in the kernel. */
  hold(reason: number): void {
    if (!this.#holds && this.#open) this.#transport.read(false);
    this.#holds |= reason;
  }

  release(reason: number): void {
    if (!(this.#holds & reason)) return;
    this.#holds &= ~reason;
    this.#resume();
  }

  /** What another channel needs to continue. This one sends nothing from here on, until `speak`. */
  export(): ChannelState {
    this.#silent = true;
    return {
      inbox: this.#parser.unparsed(),
      outbox: Buffer.concat(this.#outbox),
      discardBytes: this.#parser.discardBytes,
    };
  }

  /** Undoes the silence of `export`: sends what has gathered since. */
  speak(): void {
    this.#silent = false;
    this.#flush();
  }

  /** Lets go of the transport, without telling the handler. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#transport.close();
    this.#forget();
  }

  data(bytes: Buffer): void {
    if (!this.#open) return;
    this.#parser.push(bytes);
    if (!this.#holds && !this.#parsing) this.#parse();
  }

  ended(): void {
    this.#ended = true;
    if (!this.#holds && !this.#parsing) this.#reportEnd();
  }

  writable(): void {
    this.#blocked = false;
    this.#flush();
  }

  closed(error: Error | undefined): void {
    if (!this.#open) return;
    const where = this.#parser.atBoundary ? '' : ' inside a frame';
    if (error) this.#fail(`the connection failed${where}: ${error.message}`, where !== '');
    else this.#fail(`the peer closed the connection${where}`, where !== '');
  }

  /** As a function, because what is called in between may close the channel, which the compiler does not see. */
  #isAlive(): boolean {
    return this.#open;
  }

  #resume(): void {
    if (!this.#open || this.#holds) return;
    if (!this.#parsing) this.#parse();
    if (this.#isAlive() && !this.#holds) this.#transport.read(true);
  }

  #parse(): void {
    this.#parsing = true;
    try {
      while (this.#open && !this.#holds) {
        const frame = this.#parser.next();
        if (!frame) break;
        this.#handler.frame(frame);
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#fail(`the peer sent something that is no ttRPC: ${error.message}`, true);
    } finally {
      this.#parsing = false;
    }
    if (this.#ended && !this.#holds) this.#reportEnd();
  }

  #reportEnd(): void {
    if (!this.#open) return;
    if (this.#parser.atBoundary) this.#handler.ended();
    else this.#fail('the peer ended its side inside a frame', true);
  }

  #fail(reason: string, isFault: boolean): void {
    this.close();
    this.#handler.closed(reason, isFault);
  }

  #queue(bytes: Buffer): void {
    this.#outbox.push(bytes);
    this.#outboxBytes += bytes.length;
  }

  #flush(): void {
    if (this.#silent || !this.#open) return;
    let sent = 0;
    for (let bytes = this.#outbox[0]; bytes && !this.#blocked; bytes = this.#outbox[sent]) {
      const taken = this.#transport.send(bytes);
      if (!this.#isAlive()) return;
      this.#outboxBytes -= taken;
      if (taken < bytes.length) {
        this.#blocked = true;
        this.#outbox[sent] = bytes.subarray(taken);
      } else {
        sent++;
      }
    }
    if (sent) this.#outbox.splice(0, sent);
    if (this.#outboxBytes <= outboxLimitBytes / 2) {
      this.release(Hold.outbox);
      this.#wakeDrained();
    }
    if (this.#isAlive() && this.#outboxBytes === 0) this.#handler.flushed();
  }

  #forget(): void {
    this.#outbox = [];
    this.#outboxBytes = 0;
    this.#wakeDrained();
  }

  #wakeDrained(): void {
    const waiting = this.#drained;
    this.#drained = [];
    for (const resolve of waiting) resolve();
  }
}
