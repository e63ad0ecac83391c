import { Failure } from '../failure.ts';
import { isObject, type Json } from '../output/json.ts';
import { functions, isTrue, print } from './functions.ts';
import type { Body, Command, Node, Pipeline, Term } from './parser.ts';

/** Variables as one block sees them; it sees those of the blocks around it too. */
class Scope {
  readonly #own = new Map<string, Json>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  get(name: string): Json {
    const value = this.#own.get(name);
    if (value !== undefined) return value;
    if (this.#outer === undefined) throw new Failure(`template: there is no variable ${name}`);
    return this.#outer.get(name);
  }

  declare(name: string, value: Json): void {
    this.#own.set(name, value);
  }

  assign(name: string, value: Json): void {
    if (this.#own.has(name)) this.#own.set(name, value);
    else if (this.#outer === undefined) throw new Failure(`template: there is no variable ${name}`);
    else this.#outer.assign(name, value);
  }
}

/** @throws {Failure} where the data lack what the template asks for */
export function evaluate(body: Body, data: Json): string {
  const scope = new Scope();
  scope.declare('$', data);
  return evaluateBody(body, data, scope);
}

function evaluateBody(body: Body, dot: Json, scope: Scope): string {
  return body.map((node) => evaluateNode(node, dot, scope)).join('');
}

function evaluateNode(node: Node, dot: Json, scope: Scope): string {
  switch (node.kind) {
    case 'text':
      return node.text;
    case 'print':
      return print(valueOf(node.pipeline, dot, scope));
    case 'assign': {
      const value = valueOf(node.pipeline, dot, scope);
      if (node.isNew) scope.declare(node.name, value);
      else scope.assign(node.name, value);
      return '';
    }
    case 'if':
    case 'with': {
      const inner = new Scope(scope);
      const value = valueOf(node.pipeline, dot, scope);
      if (node.name !== undefined) inner.declare(node.name, value);
      if (!isTrue(value)) return evaluateBody(node.otherwise, dot, inner);
      return evaluateBody(node.body, node.kind === 'with' ? value : dot, inner);
    }
    case 'range':
      return evaluateRange(node, dot, scope);
  }
}

function evaluateRange(node: Node & { kind: 'range' }, dot: Json, scope: Scope): string {
  const entries = entriesOf(valueOf(node.pipeline, dot, scope));
  if (entries.length === 0) return evaluateBody(node.otherwise, dot, new Scope(scope));
  return entries
    .map(([key, item]) => {
      const inner = new Scope(scope);
      const [first, second] = node.names;
      if (second !== undefined) inner.declare(second, item);
      if (first !== undefined) inner.declare(first, second === undefined ? item : key);
      return evaluateBody(node.body, item, inner);
    })
    .join('');
}

function entriesOf(value: Json): (readonly [Json, Json])[] {
  if (value === null) return [];
  if (Array.isArray(value)) return (value as readonly Json[]).map((item, at) => [at, item]);
  if (isObject(value)) {
    return Object.keys(value)
      .sort()
      .map((key) => [key, value[key] ?? null]);
  }
  throw new Failure(`template: range goes over lists and maps, not ${print(value)}`);
}

function valueOf(pipeline: Pipeline, dot: Json, scope: Scope): Json {
  let value: Json | undefined;
  for (const command of pipeline) value = commandValue(command, value, dot, scope);
  return value ?? null;
}

function commandValue(command: Command, before: Json | undefined, dot: Json, scope: Scope): Json {
  if (command.kind === 'term') return termValue(command.term, dot, scope);
  const args = command.args.map((arg) => termValue(arg, dot, scope));
  if (before !== undefined) args.push(before);
  return functions[command.name]?.(...args) ?? null;
}

function termValue(term: Term, dot: Json, scope: Scope): Json {
  switch (term.kind) {
    case 'literal':
      return term.value;
    case 'dot':
      return dot;
    case 'field':
      return descend(dot, term.names);
    case 'variable':
      return descend(scope.get(term.name), term.names);
    case 'pipeline':
      return descend(valueOf(term.pipeline, dot, scope), term.names);
  }
}

/** A key that is not there is an error, as it is for crictl: a misspelt template shall not print nothing. */
function descend(from: Json, names: readonly string[]): Json {
  let value = from;
  for (const name of names) {
    if (!isObject(value)) throw new Failure(`template: cannot take .${name} of ${print(value)}`);
    const next = Object.hasOwn(value, name) ? value[name] : undefined;
    if (next === undefined) {
      throw new Failure(`template: there is no .${name} here`, {
        next: `there is: ${
          Object.keys(value)
            .map((key) => `.${key}`)
            .join(' ') || 'nothing'
        }`,
      });
    }
    value = next;
  }
  return value;
}
