import { closeSync, fstatSync, readSync, writeSync } from 'node:fs';
import type { NativeAddon } from '../linux/index.ts';
import type { ConnectionState } from '../ttrpc/index.ts';
import type { ShimRecord } from './record.ts';

/** A connection of a peer, for the next program image to go on with. */
export interface ConnectionRecord {
  fd: number;
  state: ConnectionState;
}

/** What one program image leaves to the next, in a memfd: the record, and what only makes sense within one process. */
export interface HandedOver {
  record: ShimRecord;
  listener: number;
  connections: ConnectionRecord[];
  /** Descriptors that had a meaning for the sleeper alone. */
  close: number[];
  /** The pump's state (a descriptor). */
  pump: number;
  reason: 'upgrade' | 'sleep';
  /** What the pump told the keeper. */
  keeperEvents?: KeeperEvent[];
  /** The child whose end has woken the shim, and when, nanoseconds since the epoch. */
  endedChild?: EndedChild;
  /** When it was written, milliseconds since the epoch. */
  atMs: number;
}

export interface EndedChild {
  pid: number;
  at: bigint;
}

/** An event of the pump (kinds as in pump.h). */
export interface KeeperEvent {
  kind: number;
  id: number;
  value: number;
}

/** Kinds in pump.h that somebody here wants to know of. */
export const keeperEventKinds = { clientGone: 5, sinkError: 6, spooling: 7 } as const;

/** Environment variables between the images; see src/native/launcher. */
export const handoverVariables = {
  record: 'BERTH_HANDOVER',
  pump: 'BERTH_PUMP',
  keeper: 'BERTH_KEEPER',
  wake: 'BERTH_WAKE',
  wakeAfterMs: 'BERTH_WAKE_AFTER_MS',
  keep: 'BERTH_KEEP',
  wokenBy: 'BERTH_WOKEN_BY',
  wokenAt: 'BERTH_WOKEN_AT',
  events: 'BERTH_EVENTS',
} as const;

/** Writes it to a new memfd. */
export function writeHandover(handover: HandedOver, native: NativeAddon): number {
  const fd = native.memfd('berth-handover');
  const bytes = Buffer.from(JSON.stringify(handover));
  for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  return fd;
}

/** Reads what the image before has left, if there was one, and closes what carried it. */
export function readHandover(env: NodeJS.ProcessEnv, native: NativeAddon): HandedOver | undefined {
  const carrier = env[handoverVariables.record];
  const pump = env[handoverVariables.pump];
  if (carrier === undefined || pump === undefined) return undefined;
  const fd = Number(carrier);
  const bytes = Buffer.alloc(fstatSync(fd).size);
  for (let at = 0; at < bytes.length;) at += readSync(fd, bytes, at, bytes.length - at, at);
  closeSync(fd);
  const handover = JSON.parse(bytes.toString('utf8')) as HandedOver;
  handover.pump = Number(pump);
  const [, at = '', pid = ''] = /^([0-9]+):([1-9][0-9]*)$/.exec(env[handoverVariables.wokenAt] ?? '') ?? [];
  if (pid !== '') handover.endedChild = { pid: Number(pid), at: BigInt(at) };
  handover.keeperEvents = parseKeeperEvents(env[handoverVariables.events] ?? '');
  native.setCloseOnExec(handover.pump, true);
  for (const useless of handover.close) closeSync(useless);
  for (const kept of descriptorsOf(handover)) native.setCloseOnExec(kept, true);
  return handover;
}

/** The descriptors that the shim itself needs, besides the pump's. */
export function descriptorsOf({
  record,
  listener,
  connections,
}: Pick<HandedOver, 'record' | 'listener' | 'connections'>): number[] {
  const fds = [listener, ...connections.map(({ fd }) => fd), record.attach?.listener ?? -1];
  for (const container of record.containers) {
    for (const process of [container.init, ...container.execs]) fds.push(process.console, process.pidfd);
  }
  return fds.filter((fd) => fd >= 0);
}

/** `kind:id:value,…`; what is not that is passed over. */
function parseKeeperEvents(text: string): KeeperEvent[] {
  return text.split(',').flatMap((part) => {
    const match = /^([0-9]+):([0-9]+):(-?[0-9]+)$/.exec(part);
    return match === null ? [] : [{ kind: Number(match[1]), id: Number(match[2]), value: Number(match[3]) }];
  });
}
