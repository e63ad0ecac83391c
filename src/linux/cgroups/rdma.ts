import { parseNestedKeyed } from './files.ts';

/** One line of rdma.current or rdma.max; the largest number for `max`. */
export interface RdmaEntry {
  device: string;
  hcaHandles: number;
  hcaObjects: number;
}

export interface RdmaStat {
  current: RdmaEntry[];
  limit: RdmaEntry[];
}

const maxUint32 = 2 ** 32 - 1;

/** undefined where there is no rdma controller. */
export function parseRdma(current: string | undefined, limit: string | undefined): RdmaStat | undefined {
  if (current === undefined && limit === undefined) return undefined;
  return { current: parseEntries(current), limit: parseEntries(limit) };
}

function parseEntries(text: string | undefined): RdmaEntry[] {
  return parseNestedKeyed(text).map(({ name, values }) => ({
    device: name,
    hcaHandles: parseLimit(values.get('hca_handle')),
    hcaObjects: parseLimit(values.get('hca_object')),
  }));
}

function parseLimit(text: string | undefined): number {
  if (text === 'max') return maxUint32;
  return /^[0-9]{1,10}$/.test(text ?? '') ? Math.min(Number(text), maxUint32) : 0;
}
