import type { Context, Settings, Sink } from './context.ts';
import type { Daemon } from './daemon.ts';
import { ExitCode } from './exit-codes.ts';
import { Failure, messageOf, QuietExit, UsageError } from './failure.ts';
import { overview, verbHelp } from './help.ts';
import { nearest, type OptionValues, parseOptions } from './options.ts';
import { globalOptions, settle } from './settings.ts';
import type { Verb } from './verb.ts';
import { findVerb, type VerbEntry, verbs } from './verbs/index.ts';

/** Of Berth; the same as in package.json (a test compares them). */
export const version = '0.1.0';

export interface Surroundings {
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly stdin: () => NodeJS.ReadStream;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Does what one command line says. Returns the exit code; every failure has been told on stderr. */
export async function runProgram(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stderr } = surroundings;
  try {
    return await dispatch(args, surroundings);
  } catch (error) {
    if (error instanceof QuietExit) return error.exitCode;
    stderr.write(`berthctl: ${messageOf(error)}\n`);
    if (!(error instanceof Failure)) {
      if (error instanceof Error && surroundings.environment['BERTH_DEBUG'] !== undefined) {
        stderr.write(`${error.stack ?? ''}\n`);
      }
      return ExitCode.Failure;
    }
    if (error.next !== undefined && error.next !== '') stderr.write(`  ${error.next}\n`);
    return error.exitCode;
  }
}

async function dispatch(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout } = surroundings;
  const global = parseOptions(args, globalOptions, true);
  const [name, ...rest] = global.operands;
  if (global.values.version) {
    stdout.write(`berthctl version ${version}\n`);
    return ExitCode.Success;
  }
  if (name === undefined || name === 'help' || name === 'h') {
    const [about] = rest;
    if (about !== undefined) stdout.write(await helpAbout(about));
    else if (name !== undefined || global.values.help) stdout.write(overview());
    else throw new UsageError('what shall be done?', 'such as "berthctl ps"; "berthctl help" lists the verbs');
    return ExitCode.Success;
  }
  const entry = entryOf(name);
  const { verb } = await entry.load();
  if (global.values.help) {
    stdout.write(verbHelp(entry, verb));
    return ExitCode.Success;
  }
  try {
    return await runVerb(entry, verb, rest, global.values, surroundings);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${name}: ${error.message}`, error.next ?? `see "berthctl ${name} --help"`);
  }
}

async function helpAbout(name: string): Promise<string> {
  const entry = entryOf(name);
  return verbHelp(entry, (await entry.load()).verb);
}

function entryOf(name: string): VerbEntry {
  const entry = findVerb(name);
  if (entry !== undefined) return entry;
  const near = nearest(
    name,
    verbs.map((one) => one.name),
  );
  throw new UsageError(
    `there is no verb "${name}"`,
    near === undefined ? '"berthctl help" lists the verbs' : `did you mean "berthctl ${near}"?`,
  );
}

async function runVerb(
  entry: VerbEntry,
  verb: Verb,
  args: readonly string[],
  global: OptionValues<typeof globalOptions>,
  surroundings: Surroundings,
): Promise<number> {
  const specs = { help: { type: 'flag', short: 'h', help: 'show this' }, ...verb.options } as const;
  const { values, given, operands } = parseOptions(args, specs, verb.stopAtOperand === true);
  if (values.help) {
    surroundings.stdout.write(verbHelp(entry, verb));
    return ExitCode.Success;
  }
  const { least, most } = verb.count ?? { least: 0, most: 0 };
  if (operands.length < least || operands.length > most) throw wrongCount(entry, verb, operands, least);
  const context = contextOf(surroundings, await settle(global, surroundings.environment));
  try {
    return (await verb.run({ context, options: values, given, operands })) ?? ExitCode.Success;
  } finally {
    await context.close();
  }
}

function wrongCount(entry: VerbEntry, verb: Verb, operands: readonly string[], least: number): UsageError {
  const usage = `usage: berthctl ${entry.name} [OPTIONS] ${verb.operands}`.trimEnd();
  const what = operands.length < least ? 'something is missing' : `"${operands.at(-1) ?? ''}" is one too many`;
  return new UsageError(what, `${usage}; see "berthctl ${entry.name} --help"`);
}

function contextOf(surroundings: Surroundings, settings: Settings): Context & { close(): Promise<void> } {
  const { stderr } = surroundings;
  let daemon: Promise<Daemon> | undefined;
  const debug = (line: string) => {
    if (settings.debug) stderr.write(`debug: ${line}\n`);
  };
  return {
    ...surroundings,
    settings,
    now: () => Date.now(),
    daemon: () => (daemon ??= import('./daemon.ts').then((module) => new module.Daemon(settings, debug))),
    debug,
    say: (line) => stderr.write(`${line}\n`),
    close: async () => (await daemon)?.close(),
  };
}
