const decimalUnits = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];

/** Bytes in powers of 1000, such as "1.23MB"; digits: how many at most. */
export function humanSize(bytes: number | bigint, digits = 4): string {
  let value = Number(bytes);
  let unit = 0;
  while (Number(value.toPrecision(digits)) >= 1000 && unit < decimalUnits.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number(value.toPrecision(digits))}${decimalUnits[unit] ?? ''}`;
}

/** A time span as people say it, such as "3 minutes" or "About an hour". */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.floor(seconds / 3600 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}

/** Such as "3 minutes ago", of a moment in nanoseconds since 1970. */
export function ago(unixNanos: bigint, now: number): string {
  return `${humanDuration(now - Number(unixNanos / 1_000_000n))} ago`;
}
