import { Code, RpcError } from '../../grpc/index.ts';
import { fillTemplate } from './conf-template.ts';
import { cidrFamily, parseConflist } from './network-conf.ts';

/** The name comes before those that network add-ons use, so that theirs can be put before it, or after. */
export const generatedName = '10-berth-net.conflist';

/**
 * The networks of `10.1.0.0/16` or `10.1.0.0/16, fd00::/64`, as kubelet gives them.
 * @throws {RpcError} INVALID_ARGUMENT
 */
export function parsePodCidr(text: string): string[] {
  const ranges = text.split(',').map((range) => range.trim());
  const wrong = ranges.find((range) => cidrFamily(range) === 0);
  if (wrong !== undefined || ranges.length > 16) {
    const shown = JSON.stringify((wrong ?? text).slice(0, 64));
    throw new RpcError(Code.InvalidArgument, `the pod CIDR ${shown} is no network such as "10.88.0.0/16"`);
  }
  return ranges;
}

/** @throws {RpcError} FAILED_PRECONDITION when the template, or what comes of it, is not valid */
export function conflistForPodCidr(template: string, templateFile: string, ranges: readonly string[]): string {
  const families = new Set(ranges.map(cidrFamily));
  const routes = [...(families.has(4) ? ['0.0.0.0/0'] : []), ...(families.has(6) ? ['::/0'] : [])];
  try {
    const text = fillTemplate(template, { PodCIDR: ranges[0] ?? '', PodCIDRRanges: ranges, Routes: routes });
    parseConflist(text, generatedName);
    return text;
  } catch (error) {
    throw new RpcError(
      Code.FailedPrecondition,
      `the network template ${templateFile} is not valid: ${(error as Error).message}`,
      { cause: error },
    );
  }
}
