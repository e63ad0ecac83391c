const units: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
};

/** Milliseconds of Go's notation ("1h10m", "300ms", "1.5s") or of a number of seconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  if (/^-?\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (!/^-?(\d+(\.\d+)?(h|ms|m|s|us|µs|ns))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)) {
    total += Number(amount) * (units[unit as string] ?? 0);
  }
  return text.startsWith('-') ? -total : total;
}

/**
 * A moment as --since takes it, in milliseconds since 1970: a duration before now, a date, a date and time (local time where it names
 * no zone), or seconds since 1970. Undefined for anything else.
 */
export function parseMoment(text: string, now: number): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const ago = parseDuration(text);
  if (ago !== undefined) return now - ago;
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)) return undefined;
  // JavaScript takes a date without time for UTC, and no hour without minutes.
  const whole = text.length === 10 ? `${text}T00:00:00` : text.replace(/T(\d{2})(?=$|Z|[+-])/, 'T$1:00');
  const moment = Date.parse(whole);
  return Number.isNaN(moment) ? undefined : moment;
}

const nanosPerSecond = 1_000_000_000n;

/** Nanoseconds since 1970 in RFC 3339 with the local zone, as Go's RFC3339Nano has it; the year 1 for undefined. */
export function rfc3339(unixNanos: bigint | undefined): string {
  if (unixNanos === undefined) return '0001-01-01T00:00:00Z';
  const seconds = unixNanos / nanosPerSecond;
  const fraction = (unixNanos % nanosPerSecond).toString().padStart(9, '0').replace(/0+$/, '');
  const date = new Date(Number(seconds) * 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  const offset = -date.getTimezoneOffset();
  const zone =
    offset === 0
      ? 'Z'
      : `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  const day = `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day}T${time}${fraction && `.${fraction}`}${zone}`;
}

/** Waits; ends at once, without an error, when the signal aborts. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done);
    if (signal?.aborted === true) done();
  });
}
