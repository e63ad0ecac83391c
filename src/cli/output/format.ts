import type { Codec } from '../../wire/index.ts';
import type { Sink } from '../context.ts';
import { UsageError } from '../failure.ts';
import { type Json, sortKeys } from './json.ts';
import { messageToJson } from './message-json.ts';

export const formats = ['table', 'json', 'yaml', 'go-template'] as const;
export type Format = (typeof formats)[number];

/** The options of every verb that prints data. */
export const outputOptions = {
  output: { type: 'text', short: 'o', value: 'FORMAT', help: formats.join(', ') },
  template: { type: 'text', value: 'TEMPLATE', help: "Go's template language, with --output go-template" },
} as const;

/** What a person sees instead of data. */
export type Table = () => string;

/** Prints in the form that --output asks for. */
export class Printer {
  readonly format: Format;
  readonly #template: ((data: Json) => string) | undefined;
  readonly #out: Sink;

  private constructor(format: Format, template: ((data: Json) => string) | undefined, out: Sink) {
    this.format = format;
    this.#template = template;
    this.#out = out;
  }

  /** @throws {UsageError} for a format that there is not, or a template that is wrong */
  static async of(
    options: { readonly output: string | undefined; readonly template: string | undefined },
    out: Sink,
    standard: Format,
  ): Promise<Printer> {
    const format = options.output ?? (options.template === undefined ? standard : 'go-template');
    if (!isFormat(format))
      throw new UsageError(`there is no output format "${format}": it is one of ${formats.join(', ')}`);
    if (format !== 'go-template') {
      if (options.template !== undefined)
        throw new UsageError(`--template goes with --output go-template, not ${format}`);
      return new Printer(format, undefined, out);
    }
    if (options.template === undefined) throw new UsageError('--output go-template needs --template');
    const { compileTemplate } = await import('../template/index.ts');
    return new Printer(format, compileTemplate(options.template), out);
  }

  /** Whether a table is wanted. */
  get isTable(): boolean {
    return this.format === 'table';
  }

  /** A message as it is, or a table. */
  async message<T>(codec: Codec<T>, message: T, table: Table): Promise<void> {
    if (this.isTable) this.#out.write(table());
    else await this.json(messageToJson(codec, message));
  }

  /** Data that is in JSON already; not for tables. */
  async json(data: Json): Promise<void> {
    if (this.#template !== undefined) {
      this.#out.write(`${this.#template(data)}\n`);
    } else if (this.format === 'yaml') {
      const { stringify } = await import('yaml');
      this.#out.write(stringify(sortKeys(data), { lineWidth: 0 }));
    } else {
      this.#out.write(`${JSON.stringify(data, undefined, 2)}\n`);
    }
  }

  /** Statuses as crictl prints them: one alone, several as a list; keys in alphabetical order. */
  async statuses(statuses: readonly Json[]): Promise<void> {
    const [only] = statuses;
    await this.json(sortKeys(statuses.length === 1 && only !== undefined ? only : statuses));
  }
}

function isFormat(format: string): format is Format {
  return (formats as readonly string[]).includes(format);
}

/** The `info` of a status as crictl shows it: what is JSON as such, all else as text without its quotation marks. */
export function infoToJson(info: Readonly<Record<string, string>>): Record<string, Json> {
  return Object.fromEntries(
    Object.entries(info).map(([key, text]) => {
      if (text.startsWith('{') || text.startsWith('[')) {
        try {
          return [key, JSON.parse(text) as Json];
        } catch {
          return [key, text];
        }
      }
      return [key, text.replace(/^"+|"+$/g, '')];
    }),
  );
}

/** "Labels:" and the like with a line for each pair; nothing for none. */
export function pairLines(title: string, pairs: Readonly<Record<string, string>>): string {
  const keys = Object.keys(pairs).sort();
  return keys.length === 0 ? '' : `${title}:\n${keys.map((key) => `\t${key} -> ${pairs[key] ?? ''}\n`).join('')}`;
}
