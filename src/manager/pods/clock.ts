/** Nanoseconds since the epoch. */
export function nowNanoseconds(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}
