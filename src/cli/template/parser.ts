import { UsageError } from '../failure.ts';
import { type Piece, type Token, lex } from './lexer.ts';

export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly pipeline: Pipeline }
  | { readonly kind: 'assign'; readonly name: string; readonly isNew: boolean; readonly pipeline: Pipeline }
  | {
      readonly kind: 'if' | 'with';
      readonly pipeline: Pipeline;
      readonly name?: string;
      readonly body: Body;
      readonly otherwise: Body;
    }
  | {
      readonly kind: 'range';
      readonly pipeline: Pipeline;
      /** Where the value goes, or key and value. */
      readonly names: readonly string[];
      readonly body: Body;
      readonly otherwise: Body;
    };

export type Body = readonly Node[];

/** Each command's result is the last argument of the next. */
export type Pipeline = readonly Command[];

/** A single term, or a function with its arguments. */
export type Command =
  | { readonly kind: 'term'; readonly term: Term }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Term[] };

export type Term =
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null }
  | { readonly kind: 'dot' }
  | { readonly kind: 'variable'; readonly name: string; readonly names: readonly string[] }
  | { readonly kind: 'field'; readonly names: readonly string[] }
  | { readonly kind: 'pipeline'; readonly pipeline: Pipeline; readonly names: readonly string[] };

const refused = ['define', 'template', 'block', 'break', 'continue'];
const literals: Readonly<Record<string, boolean | null>> = { true: true, false: false, nil: null };

/** @throws {UsageError} that names what is wrong, or not supported */
export function parse(template: string, functions: ReadonlySet<string>): Body {
  return new Parser(lex(template), functions).whole();
}

class Parser {
  readonly #pieces: readonly Piece[];
  readonly #functions: ReadonlySet<string>;
  #at = 0;

  constructor(pieces: readonly Piece[], functions: ReadonlySet<string>) {
    this.#pieces = pieces;
    this.#functions = functions;
  }

  whole(): Body {
    const { body, end } = this.#body();
    if (end !== undefined) throw new UsageError(`the template has {{${end.source}}} without a beginning`);
    return body;
  }

  /** Up to {{end}} or {{else}}, which is returned, or up to the template's end. */
  #body(): { body: Body; end: (Piece & { kind: 'action' }) | undefined } {
    const body: Node[] = [];
    for (;;) {
      const piece = this.#pieces[this.#at++];
      if (piece === undefined) return { body, end: undefined };
      if (piece.kind === 'text') {
        body.push(piece);
        continue;
      }
      const [first] = piece.tokens;
      if (first?.kind === 'word' && (first.text === 'end' || first.text === 'else')) return { body, end: piece };
      body.push(this.#node(piece));
    }
  }

  #node(piece: Piece & { kind: 'action' }): Node {
    const [first] = piece.tokens;
    const word = first?.kind === 'word' ? first.text : '';
    if (refused.includes(word)) throw new UsageError(`templates with {{${word}}} are not supported`);
    const action = new Action(piece.source, piece.tokens, this.#functions);
    if (word === 'if' || word === 'with' || word === 'range') {
      action.next();
      return this.#block(word, action);
    }
    const assigned = action.assignment();
    const pipeline = action.pipeline();
    action.done();
    if (assigned === undefined) return { kind: 'print', pipeline };
    const [name] = assigned.names;
    if (name === undefined || assigned.names.length > 1) throw action.wrong('two variables');
    return { kind: 'assign', name, isNew: assigned.isNew, pipeline };
  }

  #block(kind: 'if' | 'with' | 'range', action: Action): Node {
    const assigned = action.assignment();
    const pipeline = action.pipeline();
    action.done();
    const { body, end } = this.#body();
    const otherwise = this.#rest(kind, action, end);
    const names = assigned?.names ?? [];
    if (kind === 'range') return { kind, pipeline, names, body, otherwise };
    if (names.length > 1) throw action.wrong('two variables');
    const [name] = names;
    return { kind, pipeline, body, otherwise, ...(name !== undefined && { name }) };
  }

  /** What comes after {{else}}, if there is one; {{else if ..}} is a block of its own. */
  #rest(kind: string, action: Action, end: (Piece & { kind: 'action' }) | undefined): Body {
    if (end === undefined) throw new UsageError(`the template's {{${action.source}}} has no {{end}}`);
    const [first, second, ...more] = end.tokens;
    if (first?.kind === 'word' && first.text === 'end') {
      if (second !== undefined) throw new UsageError(`the template's {{${end.source}}} is not understood`);
      return [];
    }
    if (second === undefined) {
      const last = this.#body();
      const [closing] = last.end?.tokens ?? [];
      if (closing?.kind !== 'word' || closing.text !== 'end') {
        throw new UsageError(`the template's {{${action.source}}} has no {{end}}`);
      }
      return last.body;
    }
    if (second.kind === 'word' && second.text === kind && (kind === 'if' || kind === 'with')) {
      return [this.#block(kind, new Action(end.source, more, this.#functions))];
    }
    throw new UsageError(`the template's {{${end.source}}} is not understood`);
  }
}

/** The tokens of one action, from left to right. */
class Action {
  readonly source: string;
  readonly #tokens: readonly Token[];
  readonly #functions: ReadonlySet<string>;
  #at = 0;

  constructor(source: string, tokens: readonly Token[], functions: ReadonlySet<string>) {
    this.source = source;
    this.#tokens = tokens;
    this.#functions = functions;
  }

  next(): Token | undefined {
    return this.#tokens[this.#at++];
  }

  done(): void {
    if (this.#at < this.#tokens.length) throw this.wrong('what comes after the value');
  }

  wrong(what: string): UsageError {
    return new UsageError(`the template's {{${this.source}}} is not understood: ${what}`);
  }

  /** "$x :=", "$x =" or "$k, $v :=". */
  assignment(): { names: readonly string[]; isNew: boolean } | undefined {
    const names: string[] = [];
    for (let at = this.#at; ; at += 2) {
      const token = this.#tokens[at];
      const mark = this.#tokens[at + 1];
      if (token?.kind !== 'variable' || token.names.length > 0 || mark?.kind !== 'mark') return undefined;
      names.push(token.name);
      if (mark.text === ':=' || mark.text === '=') {
        if (names.length > 2) throw this.wrong('three variables');
        this.#at = at + 2;
        return { names, isNew: mark.text === ':=' };
      }
      if (mark.text !== ',') return undefined;
    }
  }

  pipeline(): Pipeline {
    const commands = [this.#command()];
    while (this.#isMark('|')) {
      this.next();
      commands.push(this.#command());
    }
    if (commands.slice(1).some(({ kind }) => kind === 'term')) throw this.wrong('only a function can come after "|"');
    return commands;
  }

  #isMark(text: string): boolean {
    const token = this.#tokens[this.#at];
    return token?.kind === 'mark' && token.text === text;
  }

  #command(): Command {
    const token = this.#tokens[this.#at];
    if (token?.kind === 'word' && !Object.hasOwn(literals, token.text)) {
      if (!this.#functions.has(token.text)) {
        throw new UsageError(
          `the template's function "${token.text}" is not supported`,
          `there are: ${[...this.#functions].sort().join(', ')}`,
        );
      }
      this.next();
      const args: Term[] = [];
      while (this.#at < this.#tokens.length && !this.#isMark('|') && !this.#isMark(')')) args.push(this.#term());
      return { kind: 'call', name: token.text, args };
    }
    return { kind: 'term', term: this.#term() };
  }

  #term(): Term {
    const token = this.next();
    switch (token?.kind) {
      case 'field':
        return { kind: 'field', names: token.names };
      case 'variable':
        return { kind: 'variable', name: token.name, names: token.names };
      case 'string':
        return { kind: 'literal', value: token.text };
      case 'number':
        return { kind: 'literal', value: token.value };
      case 'word': {
        const value = literals[token.text];
        if (value !== undefined && Object.hasOwn(literals, token.text)) return { kind: 'literal', value };
        return { kind: 'pipeline', pipeline: [{ kind: 'call', name: this.#known(token.text), args: [] }], names: [] };
      }
      case 'mark':
        if (token.text === '.') return { kind: 'dot' };
        if (token.text === '(') return this.#inner();
        throw this.wrong(`"${token.text}"`);
      case undefined:
        throw this.wrong('a value is missing');
    }
  }

  #known(name: string): string {
    if (this.#functions.has(name)) return name;
    throw new UsageError(`the template's function "${name}" is not supported`);
  }

  /** "(pipeline)", with fields of its result. */
  #inner(): Term {
    const pipeline = this.pipeline();
    if (!this.#isMark(')')) throw this.wrong('a ")" is missing');
    this.next();
    const after = this.#tokens[this.#at];
    if (after?.kind === 'field') {
      this.next();
      return { kind: 'pipeline', pipeline, names: after.names };
    }
    return { kind: 'pipeline', pipeline, names: [] };
  }
}
