/** Versions of the CNI specification that Berth speaks, oldest and newest. */
export const oldestVersion = '0.1.0';
export const newestVersion = '1.1.0';

const pattern = /^(\d{1,4})\.(\d{1,4})\.(\d{1,4})$/;

/** @throws {Error} for what is no version */
function parts(version: string): number[] {
  const match = pattern.exec(version);
  if (match === null) throw new Error(`"${version}" is no version such as "1.0.0"`);
  return match.slice(1).map(Number);
}

/** Negative, zero or positive, for sort. @throws {Error} for what is no version */
export function compareVersions(one: string, other: string): number {
  const left = parts(one);
  const right = parts(other);
  for (let at = 0; at < left.length; at++) {
    const difference = (left[at] as number) - (right[at] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** @throws {Error} for what is no version */
export function atLeast(version: string, minimum: string): boolean {
  return compareVersions(version, minimum) >= 0;
}
