/** Of a sorted copy; the mean of the two middle ones for an even number. */
export function median(values: readonly number[]): number {
  const sorted = sort(values);
  const middle = sorted.length / 2;
  const upper = at(sorted, Math.floor(middle));
  return Number.isInteger(middle) ? (at(sorted, middle - 1) + upper) / 2 : upper;
}

/** The smallest value that at least `share` (0 to 1) of all are not above. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = sort(values);
  return at(sorted, Math.max(0, Math.ceil(share * sorted.length) - 1));
}

const sort = (values: readonly number[]) => [...values].sort((a, b) => a - b);

function at(sorted: readonly number[], index: number): number {
  const value = sorted[index];
  if (value === undefined) throw new Error('no values');
  return value;
}
