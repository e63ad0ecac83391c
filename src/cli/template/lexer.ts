import { UsageError } from '../failure.ts';

/** A piece of a template: text as it is, or the tokens of one action. */
export type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly source: string; readonly tokens: readonly Token[] };

export type Token =
  | { readonly kind: 'field'; readonly names: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly names: readonly string[] }
  | { readonly kind: 'word'; readonly text: string }
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'number'; readonly value: number }
  | { readonly kind: 'mark'; readonly text: '(' | ')' | '|' | ',' | ':=' | '=' | '.' };

/** Cuts a template into text and actions; "{{-" and "-}}" take the blanks beside them away. @throws {UsageError} */
export function lex(template: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  let trimNext = false;
  const text = (raw: string, trimEnd: boolean) => {
    let kept = trimNext ? raw.trimStart() : raw;
    if (trimEnd) kept = kept.trimEnd();
    if (kept !== '') pieces.push({ kind: 'text', text: kept });
  };
  for (;;) {
    const open = template.indexOf('{{', at);
    if (open < 0) break;
    const match = matchAction(template, open);
    text(template.slice(at, open), match.trimBefore);
    trimNext = match.trimAfter;
    at = match.end;
    if (!match.source.startsWith('/*')) {
      pieces.push({ kind: 'action', source: match.source, tokens: tokensOf(match.source) });
    }
  }
  text(template.slice(at), false);
  return pieces;
}

/** Finds the action's end; braces inside strings are not it. */
function matchAction(template: string, open: number) {
  const content = /(?:"(?:\\.|[^"\\])*"|`[^`]*`|\/\*[\s\S]*?\*\/|(?!\}\})[\s\S])*/y;
  content.lastIndex = open + 2;
  content.exec(template);
  const close = content.lastIndex;
  if (!template.startsWith('}}', close)) throw new UsageError(`the template's "{{" at ${open + 1} has no "}}"`);
  const raw = template.slice(open + 2, close);
  const trimBefore = /^-\s/.test(raw);
  const trimAfter = /\s-$/.test(raw);
  const source = raw.slice(trimBefore ? 1 : 0, trimAfter ? -1 : undefined).trim();
  return { source, trimBefore, trimAfter, end: close + 2 };
}

const tokenPattern =
  /\s+|(?<variable>\$\w*)(?<path>(?:\.\w+)*)|(?<field>(?:\.\w+)+)|(?<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(?<word>[A-Za-z_]\w*)|(?<string>"(?:\\.|[^"\\])*")|(?<raw>`[^`]*`)|(?<mark>:=|[()|,=.])/y;

function tokensOf(source: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < source.length) {
    tokenPattern.lastIndex = at;
    const groups = tokenPattern.exec(source)?.groups;
    if (groups === undefined)
      throw new UsageError(`the template's {{${source}}} is not understood at "${source.slice(at)}"`);
    at = tokenPattern.lastIndex;
    const token = tokenOf(groups, source);
    if (token !== undefined) tokens.push(token);
  }
  return tokens;
}

function tokenOf(groups: Record<string, string | undefined>, source: string): Token | undefined {
  const { variable, path = '', field, number, word, string, raw, mark } = groups;
  if (variable !== undefined) return { kind: 'variable', name: variable, names: path.split('.').slice(1) };
  if (field !== undefined) return { kind: 'field', names: field.split('.').slice(1) };
  if (number !== undefined) return { kind: 'number', value: Number(number) };
  if (word !== undefined) return { kind: 'word', text: word };
  if (raw !== undefined) return { kind: 'string', text: raw.slice(1, -1) };
  if (mark !== undefined) return { kind: 'mark', text: mark as ':=' };
  if (string === undefined) return undefined;
  try {
    return { kind: 'string', text: JSON.parse(string) as string };
  } catch {
    throw new UsageError(`the template's {{${source}}} has a string that is not understood: ${string}`);
  }
}
