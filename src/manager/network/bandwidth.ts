import { Code, RpcError } from '../../grpc/index.ts';

/** Bits a second, and bits at once; only the directions that are limited. */
export interface Bandwidth {
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

const ingressAnnotation = 'kubernetes.io/ingress-bandwidth';
const egressAnnotation = 'kubernetes.io/egress-bandwidth';
const leastRate = 1000n;
const greatestRate = 10n ** 15n;
/** The most that the plugin's interface can say: the rate alone is to count. */
const burst = 2 ** 32 - 1;

const quantity = /^(\d{0,24})(?:\.(\d{0,24}))?(?:([eE][+-]?\d{1,3})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$/;
const decimalExponents: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const binaryExponents: Readonly<Record<string, number>> = { Ki: 10, Mi: 20, Gi: 30, Ti: 40, Pi: 50, Ei: 60 };

/**
 * The whole number that a Kubernetes quantity ("10M", "1.5Gi", "2e6", "500m") comes to, rounded up.
 * @returns undefined for what is no quantity, or a negative one
 */
export function parseQuantity(text: string): bigint | undefined {
  const match = quantity.exec(text.startsWith('+') ? text.slice(1) : text);
  if (match === null) return undefined;
  const [, whole = '', fraction = '', exponent, suffix = ''] = match;
  if (whole + fraction === '') return undefined;
  const power =
    (exponent === undefined ? (decimalExponents[suffix] ?? 0) : Number(exponent.slice(1))) - fraction.length;
  const digits = BigInt(whole + fraction) * 2n ** BigInt(binaryExponents[suffix] ?? 0);
  if (power >= 0) return digits * 10n ** BigInt(power);
  const divisor = 10n ** BigInt(-power);
  return (digits + divisor - 1n) / divisor;
}

function rate(annotations: Readonly<Record<string, string>>, name: string): number | undefined {
  if (!Object.hasOwn(annotations, name)) return undefined;
  const text = annotations[name] as string;
  const value = parseQuantity(text);
  if (value === undefined || value < leastRate || value > greatestRate) {
    const shown = JSON.stringify(text.slice(0, 64));
    throw new RpcError(
      Code.InvalidArgument,
      `the annotation ${name} is ${shown}: it must be a number of bits a second from 1k to 1P, such as "10M"`,
    );
  }
  return Number(value);
}

/**
 * How fast the pod may receive (ingress) and send (egress), as its annotations say; undefined when they do not.
 * @throws {RpcError} INVALID_ARGUMENT for a rate that cannot be understood, or is less than 1 kbit or more than 1 Pbit a second
 */
export function podBandwidth(annotations: Readonly<Record<string, string>>): Bandwidth | undefined {
  const ingressRate = rate(annotations, ingressAnnotation);
  const egressRate = rate(annotations, egressAnnotation);
  if (ingressRate === undefined && egressRate === undefined) return undefined;
  return {
    ...(ingressRate !== undefined && { ingressRate, ingressBurst: burst }),
    ...(egressRate !== undefined && { egressRate, egressBurst: burst }),
  };
}
