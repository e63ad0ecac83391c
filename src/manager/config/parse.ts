import { parse, TomlError } from 'smol-toml';
import { closest } from './closest.ts';
import type { RuntimeConfig } from './config.ts';
import { ConfigError } from './errors.ts';
import { keyLines } from './key-lines.ts';
import { runtimeName, runtimeSettings, type Setting, settings, type Values } from './settings.ts';

/** What a file says; what it does not say is absent. */
export interface FileContent {
  readonly values: Partial<Values>;
  readonly handlers: Readonly<Record<string, RuntimeConfig>>;
}

type Table = Record<string, unknown>;

const sections: ReadonlySet<string> = new Set(
  Object.keys(settings).flatMap((key) => (key.includes('.') ? [key.slice(0, key.indexOf('.'))] : [])),
);

const isTable = (value: unknown): value is Table =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);

/**
 * Reads a configuration file's text.
 * @param file its name, for errors
 * @throws {ConfigError} for what is no TOML, for unknown keys, and for values of the wrong kind: all that is wrong, with lines
 */
export function parseConfig(text: string, file: string): FileContent {
  return new Parsing(text, file).content();
}

class Parsing {
  readonly #file: string;
  readonly #lines: ReadonlyMap<string, number>;
  readonly #document: Table;
  readonly #problems: string[] = [];
  readonly #values: Record<string, unknown> = {};
  readonly #handlers: Record<string, RuntimeConfig> = {};

  constructor(text: string, file: string) {
    this.#file = file;
    try {
      this.#document = parse(text);
    } catch (error) {
      if (!(error instanceof TomlError)) throw error;
      const [what] = error.message.split('\n');
      throw new ConfigError([`${file}:${error.line}: ${what ?? 'no TOML'}`], { cause: error });
    }
    this.#lines = keyLines(text);
  }

  content(): FileContent {
    for (const [key, value] of Object.entries(this.#document)) {
      if (!sections.has(key)) this.#setting(key, value);
      else if (isTable(value)) this.#section(key, value);
      else this.#problem(key, `${key} is a section: write [${key}] and its keys below`);
    }
    if (this.#problems.length > 0) throw new ConfigError(this.#problems);
    return { values: this.#values, handlers: this.#handlers };
  }

  #section(section: string, table: Table): void {
    for (const [key, value] of Object.entries(table)) {
      if (section === 'runtimes' && isTable(value)) this.#runtime(key, value);
      else this.#setting(`${section}.${key}`, value);
    }
  }

  #setting(key: string, value: unknown): void {
    if (!Object.hasOwn(settings, key)) {
      this.#unknown(key, [...Object.keys(settings), ...sections]);
      return;
    }
    if (this.#accepts(key, settings[key as keyof typeof settings], value)) this.#values[key] = value;
  }

  #runtime(name: string, table: Table): void {
    const path = `runtimes.${name}`;
    if (name === 'default' || !runtimeName.test(name)) {
      this.#problem(
        path,
        `${JSON.stringify(name)} is no name for a runtime: use lower-case letters, digits, ".", "_", "-"`,
      );
      return;
    }
    const values: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(table)) {
      if (!Object.hasOwn(runtimeSettings, key)) {
        const known = Object.keys(runtimeSettings).map((one) => `${path}.${one}`);
        this.#unknown(`${path}.${key}`, known);
      } else if (this.#accepts(`${path}.${key}`, runtimeSettings[key as keyof typeof runtimeSettings], value)) {
        values[key] = value;
      }
    }
    const { binary = '', shim = '', root = '' } = values as Partial<RuntimeConfig>;
    if ((binary === '') === (shim === '') && !('binary' in table && 'shim' in table && this.#problems.length > 0)) {
      this.#problem(path, `[${path}] needs either binary (an OCI runtime) or shim (a containerd shim v2)`);
    }
    this.#handlers[name] = { binary, shim, root };
  }

  #accepts(key: string, setting: Setting<unknown>, value: unknown): boolean {
    const accepted = setting.accepts(value);
    if (!accepted) this.#problem(key, `${key} must be ${setting.expected}, not ${shown(value)}`);
    return accepted;
  }

  #unknown(key: string, known: readonly string[]): void {
    const name = key.slice(key.lastIndexOf('.') + 1);
    const place = key.slice(0, key.length - name.length);
    const here = known.filter((one) => one.startsWith(place)).map((one) => one.slice(place.length));
    // In its own section first; then a key that stands in the wrong one.
    const meant = closest(name, here) ?? known.find((one) => one.endsWith(`.${name}`)) ?? near(key, known, place);
    this.#problem(key, `unknown key ${key}${meant === undefined ? '' : `: did you mean ${meant}?`}`);
  }

  #problem(key: string, what: string): void {
    this.#problems.push(`${this.#file}:${this.#lines.get(key) ?? 1}: ${what}`);
  }
}

/** The nearest of all keys, without the section that both are in. */
function near(key: string, known: readonly string[], place: string): string | undefined {
  const found = closest(key, known);
  return found?.startsWith(place) === true ? found.slice(place.length) : found;
}

const maxShown = 60;

function shown(value: unknown): string {
  if (value instanceof Date) return 'a date';
  const text = JSON.stringify(value);
  return text.length > maxShown ? `${text.slice(0, maxShown)}…` : text;
}
