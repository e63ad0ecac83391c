import type { Timestamp } from './generated/google.protobuf.ts';

const nanosPerSecond = 1_000_000_000n;

/** Nanoseconds since 1970, UTC, as protobuf writes a moment. A moment before 1970 has positive `nanos` too. */
export function toTimestamp(unixNanos: bigint): Timestamp {
  let seconds = unixNanos / nanosPerSecond;
  let nanos = Number(unixNanos % nanosPerSecond);
  if (nanos < 0) {
    seconds -= 1n;
    nanos += Number(nanosPerSecond);
  }
  return { seconds, nanos };
}

/** Nanoseconds since 1970, UTC; undefined for a moment that is absent. */
export function fromTimestamp(timestamp: Timestamp): bigint;
export function fromTimestamp(timestamp: Timestamp | undefined): bigint | undefined;
export function fromTimestamp(timestamp: Timestamp | undefined): bigint | undefined {
  return timestamp && timestamp.seconds * nanosPerSecond + BigInt(timestamp.nanos);
}

/** Now, in nanoseconds since 1970. */
export function nowNanoseconds(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}
