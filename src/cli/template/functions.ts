import { Failure } from '../failure.ts';
import { isObject, type Json } from '../output/json.ts';

/** Undefined: no argument. */
export type TemplateFunction = (...args: Json[]) => Json;

/** What Go prints for a value. */
export function print(value: Json): string {
  if (value === null) return '<no value>';
  if (typeof value === 'string') return value;
  if (typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(print).join(' ')}]`;
  if (!isObject(value)) return '';
  const pairs = Object.keys(value)
    .sort()
    .map((key) => `${key}:${print(value[key] ?? null)}`);
  return `map[${pairs.join(' ')}]`;
}

/** What {{if}} goes by: false, 0, nothing and what is empty are not true. */
export function isTrue(value: Json): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (isObject(value)) return Object.keys(value).length > 0;
  return value !== null && value !== false && value !== 0 && value !== '';
}

function index(value: Json, ...keys: Json[]): Json {
  let at = value;
  for (const key of keys) {
    if (Array.isArray(at)) {
      const list = at as readonly Json[];
      const item = typeof key === 'number' ? list[key] : undefined;
      if (item === undefined) throw new Failure(`template: index ${print(key)} is not in a list of ${list.length}`);
      at = item;
    } else if (isObject(at) && typeof key === 'string') {
      at = Object.hasOwn(at, key) ? (at[key] ?? null) : null;
    } else {
      throw new Failure(`template: cannot take index ${print(key)} of ${print(at)}`);
    }
  }
  return at;
}

function length(value: Json): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (isObject(value)) return Object.keys(value).length;
  throw new Failure(`template: ${print(value)} has no length`);
}

function compare(a: Json, b: Json): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  throw new Failure(`template: cannot compare ${print(a)} with ${print(b)}`);
}

/** %s, %v, %d, %q and %%; no widths. */
function printf(format: Json, ...args: Json[]): string {
  let used = 0;
  return print(format).replace(/%(.?)/g, (verb, letter: string) => {
    if (letter === '%') return '%';
    const arg = args[used++];
    if (arg === undefined) throw new Failure(`template: printf ${JSON.stringify(format)} has too few arguments`);
    if (letter === 's' || letter === 'v' || letter === 'd') return print(arg);
    if (letter === 'q') return JSON.stringify(print(arg));
    throw new Failure(`template: printf's ${verb} is not supported`);
  });
}

const changed = (change: (text: string) => string) => (value: Json) => change(print(value));

export const functions: Readonly<Record<string, TemplateFunction>> = {
  and: (...args) => args.find((arg) => !isTrue(arg)) ?? args.at(-1) ?? null,
  or: (...args) => args.find(isTrue) ?? args.at(-1) ?? null,
  not: (value = null) => !isTrue(value),
  eq: (first = null, ...others) => others.some((other) => JSON.stringify(other) === JSON.stringify(first)),
  ne: (a = null, b = null) => JSON.stringify(a) !== JSON.stringify(b),
  lt: (a = null, b = null) => compare(a, b) < 0,
  le: (a = null, b = null) => compare(a, b) <= 0,
  gt: (a = null, b = null) => compare(a, b) > 0,
  ge: (a = null, b = null) => compare(a, b) >= 0,
  index: (value = null, ...keys) => index(value, ...keys),
  json: (value = null) => JSON.stringify(value),
  len: (value = null) => length(value),
  print: (...args) => args.map(print).join(''),
  printf: (format = '', ...args) => printf(format, ...args),
  println: (...args) => `${args.map(print).join(' ')}\n`,
  lower: changed((text) => text.toLowerCase()),
  title: changed((text) => text.replace(/\b\p{L}/gu, (letter) => letter.toUpperCase())),
  upper: changed((text) => text.toUpperCase()),
};
