import type { Context } from './context.ts';
import type { OptionSpecs, OptionValues } from './options.ts';

/** What can be done with an id that a verb takes; the shells complete by it. */
export type Taken = 'container' | 'pod' | 'image' | 'file';

/** One verb of berthctl, in a file of its own. */
export interface Verb<Specs extends OptionSpecs = OptionSpecs> {
  /** The operands, such as "CONTAINER-ID [CONTAINER-ID...]"; empty when there are none. */
  readonly operands: string;
  readonly takes?: Taken;
  /** How many operands there must be. Default: none. */
  readonly count?: { readonly least: number; readonly most: number };
  /** Whether options end at the first operand, because a command to run follows. Default false. */
  readonly stopAtOperand?: boolean;
  /** More than the one line of the table of verbs; paragraphs of plain text. */
  readonly details?: string;
  /** Command lines that work. */
  readonly examples: readonly string[];
  readonly options: Specs;
  /** The exit code, if it is not 0. @throws {Failure} */
  run(call: VerbCall<Specs>): Promise<number | undefined>;
}

export interface VerbCall<Specs extends OptionSpecs = OptionSpecs> {
  readonly context: Context;
  readonly options: OptionValues<Specs>;
  /** Names of the options that were on the command line. */
  readonly given: ReadonlySet<string>;
  readonly operands: readonly string[];
}

/** Lets TypeScript see the options' types inside `run`. */
export function defineVerb<const Specs extends OptionSpecs>(verb: Verb<Specs>): Verb {
  return verb;
}
