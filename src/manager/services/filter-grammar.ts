import { Code, RpcError } from '../../grpc/index.ts';

/** `path` alone, or with an operator and a value. */
export interface Selector {
  readonly path: readonly string[];
  readonly operator: 'present' | '==' | '!=' | '~=';
  readonly value: string;
}

const operators: ReadonlySet<string> = new Set(['==', '!=', '~=']);

/**
 * The grammar of containerd's filters (its package `filters`):
 *
 *     selectors := selector ("," selector)*
 *     selector  := path (operator value)?
 *     path      := field ("." field)*
 *     field     := quoted | [A-Za-z0-9_]+
 *     operator  := "==" | "!=" | "~="
 *     value     := quoted | what is neither blank nor a comma
 *     quoted    := a string in "…" as Go writes it; after "~=" also in /…/ or |…|
 *
 * Blanks may stand in front of a field, an operator and a value.
 *
 * @throws {RpcError} INVALID_ARGUMENT, with the place
 */
export function parseSelectors(text: string): Selector[] {
  return new FilterParser(text).selectors();
}

class FilterParser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  selectors(): Selector[] {
    const selectors = [this.#selector()];
    while (this.#at < this.#text.length) {
      if (this.#text[this.#at] !== ',') throw this.#error(this.#at, 'expected "," or the end');
      this.#at++;
      selectors.push(this.#selector());
    }
    return selectors;
  }

  #selector(): Selector {
    const path = [this.#field()];
    while (this.#text[this.#at] === '.') {
      this.#at++;
      path.push(this.#field());
    }
    if (this.#at === this.#text.length || this.#text[this.#at] === ',') return { path, operator: 'present', value: '' };
    const operator = this.#operator();
    return { path, operator, value: this.#value(operator) };
  }

  #field(): string {
    this.#skipBlanks();
    const from = this.#at;
    const field = this.#take(/[A-Za-z0-9_]+/y);
    if (field !== '') return field;
    const quote = this.#text[from];
    if (quote !== '"' && quote !== '/' && quote !== '|') throw this.#error(from, 'expected a field, or one in quotes');
    return this.#quoted('"');
  }

  #operator(): '==' | '!=' | '~=' {
    this.#skipBlanks();
    const from = this.#at;
    const operator = this.#take(/[=!~]+/y);
    if (!operators.has(operator)) throw this.#error(from, 'expected an operator: "==", "!=" or "~="');
    return operator as '==' | '!=' | '~=';
  }

  #value(operator: string): string {
    this.#skipBlanks();
    const from = this.#at;
    const first = this.#text[from];
    if (first === '"' || first === '/' || first === '|') return this.#quoted(operator === '~=' ? '"/|' : '"');
    const value = first === '.' ? '' : this.#take(/[^,\s\p{C}]+/uy);
    if (value === '') throw this.#error(from, 'expected a value, or one in quotes');
    return value;
  }

  #quoted(allowed: string): string {
    const from = this.#at;
    const quote = this.#text[from] as string;
    const bytes: Buffer[] = [];
    this.#at++;
    for (;;) {
      const plain = this.#take(/[^"/|\\\n]+/y);
      bytes.push(Buffer.from(plain));
      const sign = this.#text[this.#at];
      if (sign === undefined || sign === '\n') throw this.#error(from, 'these quotes have no end');
      if (sign === '\\') {
        bytes.push(this.#escape(quote));
        continue;
      }
      this.#at++;
      if (sign === quote) break;
      bytes.push(Buffer.from(sign));
    }
    if (!allowed.includes(quote)) throw this.#error(from, `a "${quote}" cannot stand here: put the text into "…"`);
    return Buffer.concat(bytes).toString();
  }

  #escape(quote: string): Buffer {
    const from = this.#at;
    const simple = this.#take(/\\[abfnrtv\\"/|]/y).slice(1);
    if (simple === quote) return Buffer.from(quote);
    if (simple in controls) return Buffer.from(controls[simple] as string);
    const octal = this.#take(/\\[0-3][0-7]{2}/y);
    if (octal !== '') return Buffer.from([parseInt(octal.slice(1), 8)]);
    const byte = this.#take(/\\x[0-9a-fA-F]{2}/y);
    if (byte !== '') return Buffer.from([parseInt(byte.slice(2), 16)]);
    const point = this.#take(/\\u[0-9a-fA-F]{4}|\\U00(0[0-9a-fA-F]|10)[0-9a-fA-F]{4}/y);
    if (point !== '') return Buffer.from(String.fromCodePoint(parseInt(point.slice(2), 16)));
    throw this.#error(from, 'this escape sequence is not known; a backslash itself is written "\\\\"');
  }

  #skipBlanks(): void {
    this.#take(/\s+/y);
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [taken] = pattern.exec(this.#text) ?? [''];
    this.#at += taken.length;
    return taken;
  }

  #error(at: number, what: string): RpcError {
    const place = at < this.#text.length ? `at "${this.#text.slice(at)}"` : 'at its end';
    return new RpcError(Code.InvalidArgument, `the filter ${this.#text} is wrong ${place}: ${what}`);
  }
}

const controls: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
};
