/**
 * On which line each key of a TOML document stands (the first is 1), by its path with dots; a table by that of its header. The document has
 * been parsed already, so it is well-formed; only what is needed to find keys is looked at.
 */
export function keyLines(toml: string): ReadonlyMap<string, number> {
  const walk = new Walk(toml);
  walk.document();
  return walk.lines;
}

class Walk {
  readonly lines = new Map<string, number>();
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    let table: string[] = [];
    while (this.#hasMore()) {
      if (this.#peek() === '[') {
        while (this.#peek() === '[') this.#next();
        table = this.#key();
        this.#note(table);
        while (this.#peek() === ']') this.#next();
      } else {
        this.#pair(table);
      }
    }
  }

  /** Whether there is anything but blanks and comments; passes those over. */
  #hasMore(): boolean {
    this.#skipBlank(true);
    return this.#at < this.#text.length;
  }

  #pair(table: readonly string[]): void {
    const path = [...table, ...this.#key()];
    this.#note(path);
    this.#next(); // "="
    this.#value(path);
  }

  /** A dotted key, and the blanks around it. */
  #key(): string[] {
    const parts: string[] = [];
    for (;;) {
      this.#skipBlank(false);
      const quote = this.#peek();
      if (quote === '"' || quote === "'") parts.push(this.#string());
      else parts.push(this.#take(/[A-Za-z0-9_-]*/y));
      this.#skipBlank(false);
      if (this.#peek() !== '.') return parts;
      this.#next();
    }
  }

  #value(path: readonly string[]): void {
    this.#skipBlank(true);
    switch (this.#peek()) {
      case '"':
      case "'":
        this.#string();
        return;
      case '[':
        this.#list(']', () => this.#value([...path, '']));
        return;
      case '{':
        this.#list('}', () => this.#pair(path));
        return;
      default:
        this.#take(/[^\s,\]}#]*( \d[^\s,\]}#]*)?/y);
    }
  }

  #list(end: string, item: () => void): void {
    this.#next();
    while (this.#hasMore() && this.#peek() !== end) {
      if (this.#peek() === ',') this.#next();
      else item();
    }
    this.#next();
  }

  /** What is between the quotes, as it is written but for escaped quotes. */
  #string(): string {
    const long = /"""|'''/y;
    long.lastIndex = this.#at;
    const mark = long.exec(this.#text)?.[0] ?? this.#peek();
    this.#next(mark.length);
    const from = this.#at;
    while (this.#at < this.#text.length && !this.#text.startsWith(mark, this.#at)) {
      this.#next(this.#peek() === '\\' && mark.startsWith('"') ? 2 : 1);
    }
    const content = this.#text.slice(from, this.#at);
    this.#next(mark.length);
    // A long string may end in quotes of its own.
    while (mark.length === 3 && this.#peek() === mark[0]) this.#next();
    return content.replace(/\\(["\\])/g, '$1');
  }

  #skipBlank(lines: boolean): void {
    for (;;) {
      const sign = this.#peek();
      if (sign === ' ' || sign === '\t' || (lines && (sign === '\n' || sign === '\r'))) this.#next();
      else if (lines && sign === '#') this.#take(/[^\n]*/y);
      else return;
    }
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [taken] = pattern.exec(this.#text) ?? [''];
    this.#next(taken.length);
    return taken;
  }

  #peek(): string {
    return this.#text[this.#at] ?? '';
  }

  #next(signs = 1): void {
    for (const end = this.#at + signs; this.#at < end; this.#at++) if (this.#peek() === '\n') this.#line++;
  }

  #note(path: readonly string[]): void {
    const key = path.join('.');
    if (!this.lines.has(key)) this.lines.set(key, this.#line);
  }
}
