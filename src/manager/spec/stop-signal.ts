import { constants } from 'node:os';
import { cri } from '../../wire/index.ts';
import type { ImageDefaults } from './input.ts';

const sigterm = 15;
/** Real-time signals as programs count them: the C library keeps the first two for itself. */
const firstRealTime = 34;
const lastSignal = 64;
const otherNames: Readonly<Record<string, number>> = { SIGCLD: 17, SIGPOLL: 29, SIGIOT: 6, SIGSTKFLT: 16, SIGPWR: 30 };

/** The number of the signal that asks a container to end: the request's, else the image's, else SIGTERM. */
export function stopSignalOf(
  { stopSignal }: Pick<cri.ContainerConfig, 'stopSignal'>,
  image: Pick<ImageDefaults, 'stopSignal'>,
): number {
  const name = Object.entries(cri.Signal).find(([, number]) => number === stopSignal)?.[0] ?? '';
  return signalNumber(name.replace('PLUS', '+').replace('MINUS', '-')) ?? signalNumber(image.stopSignal) ?? sigterm;
}

/**
 * From "SIGTERM", "term", "15", "SIGRTMIN+3", "RTMAX-1"; undefined for anything else: an image may say what it likes.
 */
export function signalNumber(text: string): number | undefined {
  const number = /^[0-9]{1,2}$/.test(text) ? Number(text) : numberOfName(text.toUpperCase());
  return number !== undefined && number >= 1 && number <= lastSignal ? number : undefined;
}

function numberOfName(upper: string): number | undefined {
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  const [, base, offset] = /^SIG(RTMIN|RTMAX)([+-][0-9]{1,2})?$/.exec(name) ?? [];
  if (base === undefined) return otherNames[name] ?? (constants.signals as Partial<Record<string, number>>)[name];
  const number = (base === 'RTMIN' ? firstRealTime : lastSignal) + Number(offset ?? 0);
  return number >= firstRealTime ? number : undefined;
}
