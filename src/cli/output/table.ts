const leastWidth = 20;
const gap = 3;

/** Columns as crictl aligns them: at least 20 wide, 3 blanks between, the last one as long as it is. Lines end with a newline. */
export function formatTable(rows: readonly (readonly string[])[], least = leastWidth): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? least, width(cell) + gap);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - width(cell)),
        )
        .join('')
        .concat('\n'),
    )
    .join('');
}

/** Characters, not UTF-16 units; what image names and labels have. */
function width(text: string): number {
  return Array.from(text).length;
}

/** The form of an id in a table: 13 characters, without "sha256:". */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 13);
}
