import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { repository } from '../support/paths.ts';

const document = join(repository, 'docs/benchmarks.md');

/**
 * Puts the text between two marks of docs/benchmarks.md; what is around them stays.
 * @param part the marks are `<!-- PART: begin -->` and `<!-- PART: end -->`
 */
export function writeBetween(part: string, text: string): void {
  const [begin, end] = [`<!-- ${part}: begin -->`, `<!-- ${part}: end -->`];
  const [head, rest] = readFileSync(document, 'utf8').split(begin);
  const tail = rest?.split(end)[1];
  if (head === undefined || tail === undefined) throw new Error(`${document} has no marks "${begin}" and "${end}"`);
  writeFileSync(document, `${head}${begin}\n\n${text}\n\n${end}${tail}`);
}
