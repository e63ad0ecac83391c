/** What a template may use; the names are containerd's. */
export interface TemplateValues {
  readonly PodCIDR: string;
  readonly PodCIDRRanges: readonly string[];
  readonly Routes: readonly string[];
}

type Value = string | number | readonly string[];

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'value'; readonly term: string }
  | { readonly kind: 'if'; readonly term: string; readonly then: readonly Node[]; readonly otherwise: readonly Node[] }
  | {
      readonly kind: 'range';
      readonly index: string | undefined;
      readonly element: string | undefined;
      readonly term: string;
      readonly each: readonly Node[];
      readonly none: readonly Node[];
    };

const action = /\{\{(- )?([\s\S]*?)( -)?\}\}/g;
const term = String.raw`(?:\$\w*)?(?:\.\w+)?|\.`;
const value = new RegExp(`^(?:${term})$`);
const condition = new RegExp(`^if\\s+(${term})$`);
const loop = new RegExp(`^range\\s+(?:(?:(\\$\\w+)\\s*,\\s*)?(\\$\\w+)\\s*:=\\s*)?(${term})$`);

type Token = { text: string } | { action: string };

/** Splits into text and actions; `{{-` and `-}}` take the white space beside them. */
function tokens(template: string): Token[] {
  const found: Token[] = [];
  let from = 0;
  let trimNext = false;
  const addText = (text: string, trimEnd: boolean) => {
    const left = trimNext ? text.trimStart() : text;
    const whole = trimEnd ? left.trimEnd() : left;
    if (whole !== '') found.push({ text: whole });
  };
  for (const match of template.matchAll(action)) {
    addText(template.slice(from, match.index), match[1] !== undefined);
    trimNext = match[3] !== undefined;
    from = match.index + match[0].length;
    const inner = (match[2] as string).trim();
    if (!/^\/\*[\s\S]*\*\/$/.test(inner)) found.push({ action: inner });
  }
  addText(template.slice(from), false);
  return found;
}

/** Parses tokens into nodes. */
class Parser {
  readonly #tokens: Token[];
  #at = 0;

  constructor(template: string) {
    this.#tokens = tokens(template);
  }

  parse(): Node[] {
    const { nodes, end } = this.#block();
    if (end !== '') throw new Error(`{{${end}}} without a beginning`);
    return nodes;
  }

  /** Up to `else`, `end` or the template's end (''). */
  #block(): { nodes: Node[]; end: string } {
    const nodes: Node[] = [];
    for (let token = this.#tokens[this.#at++]; token !== undefined; token = this.#tokens[this.#at++]) {
      if ('text' in token) nodes.push({ kind: 'text', text: token.text });
      else if (token.action === 'end' || token.action === 'else') return { nodes, end: token.action };
      else nodes.push(this.#node(token.action));
    }
    return { nodes, end: '' };
  }

  #node(text: string): Node {
    const branch = condition.exec(text);
    if (branch !== null) {
      const [then, otherwise] = this.#branches(text);
      return { kind: 'if', term: branch[1] as string, then, otherwise };
    }
    const repeated = loop.exec(text);
    if (repeated !== null) {
      const [each, none] = this.#branches(text);
      return { kind: 'range', index: repeated[1], element: repeated[2], term: repeated[3] as string, each, none };
    }
    if (text !== '' && value.test(text)) return { kind: 'value', term: text };
    throw new Error(
      `{{${text}}} is not understood: .PodCIDR, .PodCIDRRanges, .Routes, variables, range, if, else and end are`,
    );
  }

  #branches(of: string): [Node[], Node[]] {
    const first = this.#block();
    if (first.end === 'end') return [first.nodes, []];
    const second = first.end === 'else' ? this.#block() : first;
    if (second.end !== 'end') throw new Error(`{{${of}}} has no {{end}}`);
    return [first.nodes, second.nodes];
  }
}

interface Scope {
  readonly dot: Value | TemplateValues;
  readonly variables: ReadonlyMap<string, Value>;
}

function isValues(dot: Value | TemplateValues): dot is TemplateValues {
  return typeof dot === 'object' && !Array.isArray(dot);
}

function evaluate(term: string, scope: Scope, root: TemplateValues): Value {
  const [variable, field] = term.split('.') as [string, string | undefined];
  const base = variable === '' ? scope.dot : variable === '$' ? root : scope.variables.get(variable);
  if (base === undefined) throw new Error(`there is no variable ${variable}`);
  if (field === undefined || field === '') {
    if (isValues(base)) throw new Error(`{{${term}}} is no text`);
    return base;
  }
  if (!isValues(base) || !Object.hasOwn(base, field)) {
    throw new Error(`there is no .${field}: .PodCIDR, .PodCIDRRanges and .Routes are there`);
  }
  return base[field as keyof TemplateValues];
}

function isTrue(value: Value): boolean {
  return typeof value === 'number' ? value !== 0 : value.length > 0;
}

function print(nodes: readonly Node[], scope: Scope, root: TemplateValues): string {
  return nodes.map((node) => printNode(node, scope, root)).join('');
}

function printNode(node: Node, scope: Scope, root: TemplateValues): string {
  switch (node.kind) {
    case 'text':
      return node.text;
    case 'value': {
      const value = evaluate(node.term, scope, root);
      return typeof value === 'object' ? `[${value.join(' ')}]` : String(value);
    }
    case 'if':
      return print(isTrue(evaluate(node.term, scope, root)) ? node.then : node.otherwise, scope, root);
    case 'range': {
      const list = evaluate(node.term, scope, root);
      if (typeof list !== 'object') throw new Error(`{{range ${node.term}}}: that is no list`);
      if (list.length === 0) return print(node.none, scope, root);
      return list
        .map((element, at) => {
          const variables = new Map(scope.variables);
          if (node.index !== undefined) variables.set(node.index, at);
          if (node.element !== undefined) variables.set(node.element, element);
          return print(node.each, { dot: element, variables }, root);
        })
        .join('');
    }
  }
}

/**
 * Fills in a template written for containerd: the part of Go's text/template that such templates use.
 * @throws {Error} that names what is not understood
 */
export function fillTemplate(template: string, values: TemplateValues): string {
  return print(new Parser(template).parse(), { dot: values, variables: new Map() }, values);
}
