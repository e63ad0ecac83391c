import { parseArgs, type ParseArgsOptionsConfig } from 'node:util';
import { UsageError } from './failure.ts';
import { parseDuration } from './time.ts';

/**
 * How one option is written. `flag` takes no value, `text` one, `list` may come again and again, `whole` is an integer, and
 * `duration` is Go's ("1m30s", or a number of seconds), given to the verb in milliseconds.
 */
export interface OptionSpec {
  readonly type: 'flag' | 'text' | 'list' | 'whole' | 'duration';
  /** One letter. */
  readonly short?: string;
  readonly help: string;
  /** What the help calls the value. Default by type. */
  readonly value?: string;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

interface ValueTypes {
  flag: boolean;
  text: string | undefined;
  list: readonly string[];
  whole: number | undefined;
  duration: number | undefined;
}

/** What a verb is given for its options: false, undefined or an empty list for those that are absent. */
export type OptionValues<Specs extends OptionSpecs> = {
  readonly [Name in keyof Specs]: ValueTypes[Specs[Name]['type']];
};

export interface ParsedOptions<Specs extends OptionSpecs> {
  readonly values: OptionValues<Specs>;
  /** Whether the option was on the command line. */
  readonly given: ReadonlySet<string>;
  readonly operands: readonly string[];
}

/**
 * Reads options and operands.
 * @param stopAtOperand whether everything from the first operand on is operands: those of a command to run
 * @throws {UsageError} for an option that is not there or has no good value
 */
export function parseOptions<const Specs extends OptionSpecs>(
  args: readonly string[],
  specs: Specs,
  stopAtOperand: boolean,
): ParsedOptions<Specs> {
  const config: ParseArgsOptionsConfig = Object.fromEntries(
    Object.entries(specs).map(([name, { type, short }]) => [
      name,
      { type: type === 'flag' ? 'boolean' : 'string', multiple: true, ...(short !== undefined && { short }) },
    ]),
  );
  const { tokens } = parseArgs({
    args: [...args],
    options: config,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values: Record<string, unknown> = {};
  for (const [name, { type }] of Object.entries(specs)) {
    values[name] = type === 'flag' ? false : type === 'list' ? [] : undefined;
  }
  const given = new Set<string>();
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      if (stopAtOperand) {
        operands.push(...args.slice(token.index));
        break;
      }
      operands.push(token.value);
      continue;
    }
    const spec = Object.hasOwn(specs, token.name) ? specs[token.name] : undefined;
    if (spec === undefined) throw unknownOption(token.rawName, specs);
    given.add(token.name);
    values[token.name] = valueOf(spec, token.rawName, token.value, values[token.name]);
  }
  return { values: values as OptionValues<Specs>, given, operands };
}

function valueOf(spec: OptionSpec, option: string, text: string | undefined, before: unknown): unknown {
  if (spec.type === 'flag') {
    if (text === undefined || text === 'true') return true;
    if (text === 'false') return false;
    throw new UsageError(`${option} takes no value, or true or false; not "${text}"`);
  }
  if (text === undefined) throw new UsageError(`${option} needs a value`);
  switch (spec.type) {
    case 'text':
      return text;
    case 'list':
      return [...(before as readonly string[]), text];
    case 'whole': {
      const number = Number(text);
      if (text.trim() === '' || !Number.isSafeInteger(number)) {
        throw new UsageError(`${option} needs a whole number, not "${text}"`);
      }
      return number;
    }
    case 'duration': {
      const milliseconds = parseDuration(text);
      if (milliseconds === undefined) {
        throw new UsageError(`${option} needs a duration such as 10s or 1m30s, not "${text}"`);
      }
      return milliseconds;
    }
  }
}

function unknownOption(option: string, specs: OptionSpecs): UsageError {
  const names = Object.keys(specs).map((name) => `--${name}`);
  const near = nearest(option.replace(/^-+/, '--'), names);
  return new UsageError(`there is no option ${option}`, near && `did you mean ${near}?`);
}

/** The candidate that differs from the word by at most two letters, if there is one. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= 2 ? best.candidate : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
