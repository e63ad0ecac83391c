import { constants } from 'node:os';

/** Signals by name, `SIGRTMIN` and `SIGRTMAX` too. */
const numbers: ReadonlyMap<string, number> = new Map([
  ...Object.entries(constants.signals),
  ['SIGRTMIN', 34],
  ['SIGRTMAX', 64],
]);

/** `'SIGTERM'`, `'TERM'`, `'SIGRTMIN+3'`, `'15'`: its number; undefined when there is no such signal. */
export function signalNumber(name: string): number | undefined {
  if (/^[0-9]{1,2}$/.test(name)) return inRange(Number(name));
  const [, base = '', offset = '0'] = /^([A-Z0-9]+)([+-][0-9]{1,2})?$/.exec(name.toUpperCase()) ?? [];
  const number = numbers.get(base) ?? numbers.get(`SIG${base}`);
  if (number === undefined || (offset !== '0' && !base.includes('RTM'))) return undefined;
  return inRange(number + Number(offset));
}

function inRange(number: number): number | undefined {
  return number >= 1 && number <= 64 ? number : undefined;
}
