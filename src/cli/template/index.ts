// The part of Go's text/template that users of crictl have in their scripts.
import type { Json } from '../output/json.ts';
import { evaluate } from './evaluate.ts';
import { functions } from './functions.ts';
import { parse } from './parser.ts';

const known: ReadonlySet<string> = new Set(Object.keys(functions));

/** @throws {UsageError} where the template is wrong, or has what is not supported; the function it gives throws a Failure. */
export function compileTemplate(template: string): (data: Json) => string {
  const body = parse(template, known);
  return (data) => evaluate(body, data);
}
