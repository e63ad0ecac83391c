import { Code, RpcError } from '../../grpc/index.ts';
import { parseSelectors, type Selector } from './filter-grammar.ts';

/** A field of what is filtered, by its path (`['labels', 'app']`); undefined when it has none, or an empty one. */
export type FieldOf = (path: readonly string[]) => string | undefined;

/** Whether a thing is wanted. */
export type Filter = (field: FieldOf) => boolean;

/** Longer values are not matched against regular expressions to their end: such an expression can take very long. */
const maxMatchedLength = 4096;

/**
 * containerd's filters: a thing is wanted when all selectors of any of these texts fit; all things are when there is no text.
 * `name==foo` and `name!=foo` compare, `topic~="^/tasks/"` searches, `labels.foo` is for what has that field at all.
 *
 * @throws {RpcError} INVALID_ARGUMENT for a text that is no filter
 */
export function parseFilters(texts: readonly string[]): Filter {
  if (texts.length === 0) return () => true;
  const any = texts.map((text) => {
    if (text === '') return () => true;
    const all = parseSelectors(text).map((selector) => matcher(text, selector));
    return (field: FieldOf) => all.every((fits) => fits(field));
  });
  return (field) => any.some((fits) => fits(field));
}

function matcher(text: string, { path, operator, value }: Selector): Filter {
  switch (operator) {
    case 'present':
      return (field) => field(path) !== undefined;
    case '==':
      return (field) => field(path) === value;
    case '!=':
      return (field) => (field(path) ?? '') !== value;
    case '~=': {
      const expression = regularExpression(text, value);
      return (field) => expression.test((field(path) ?? '').slice(0, maxMatchedLength));
    }
  }
}

/** Go's syntax as far as JavaScript's is the same; flags in front, such as "(?i)", are understood too. */
function regularExpression(text: string, source: string): RegExp {
  const [front, flags = ''] = /^\(\?([ims]+)\)/.exec(source) ?? [''];
  try {
    return new RegExp(source.slice(front.length), flags);
  } catch (error) {
    throw new RpcError(Code.InvalidArgument, `filter ${text}: ${(error as Error).message}`, { cause: error });
  }
}

/** The field for the rest of a path below a map, such as labels: one key, whose dots belong to it. */
export function mapField(map: Readonly<Record<string, string>>, path: readonly string[]): string | undefined {
  const key = path.join('.');
  return Object.hasOwn(map, key) ? map[key] : undefined;
}
