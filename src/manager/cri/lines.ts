import type { ContainerRecord, SandboxRecord } from '../pods/index.ts';
import { type Codec, cri, type Init, keepEncoded } from '../../wire/index.ts';
import { listedContainer } from './container-status.ts';
import { listedSandbox } from './sandbox-status.ts';

/** One line of ListContainers. */
export const containerLine = oncePerRecord<ContainerRecord, cri.Container>(cri.Container, listedContainer);

/** One line of ListPodSandbox. */
export const sandboxLine = oncePerRecord<SandboxRecord, cri.PodSandbox>(cri.PodSandbox, listedSandbox);

/** Lists are asked for every second, and what is in them seldom changes: a record, which is replaced when it does, is encoded once. */
function oncePerRecord<Record extends object, T>(codec: Codec<T>, line: (record: Record) => Init<T> & object) {
  const lines = new WeakMap<Record, Init<T> & object>();
  return (record: Record): Init<T> => {
    const known = lines.get(record) ?? keepEncoded(codec, line(record));
    lines.set(record, known);
    return known;
  };
}
