import { type berth, type Codec, events, fromTimestamp, holds, unpackAny } from '../wire/index.ts';
import type { Json } from './output/json.ts';
import { messageToJson } from './output/message-json.ts';
import { shortId } from './output/table.ts';
import { rfc3339 } from './time.ts';

const known = Object.values(events) as unknown as readonly Codec<unknown>[];

/** An event of berthd's journal with what it holds instead of bytes. */
export function eventToJson(event: berth.Event): Record<string, Json> {
  const { sequence, namespace, topic, containerId, sandboxId } = event;
  const time = fromTimestamp(event.timestamp);
  return {
    sequence: sequence.toString(),
    timestamp: time === undefined ? null : new Date(Number(time / 1_000_000n)).toISOString(),
    namespace,
    topic,
    containerId,
    sandboxId,
    event: contentOf(event),
  };
}

/** One line: number, time, what, which container, and what matters of it. */
export function eventLine(event: berth.Event): string {
  const content = contentOf(event);
  const details = ['id', 'execId', 'pid', 'exitStatus']
    .filter((key) => Object.hasOwn(content, key) && !(key === 'id' && content[key] === event.containerId))
    .map((key) => ` ${key}=${JSON.stringify(content[key])}`);
  const time = rfc3339(fromTimestamp(event.timestamp)).padEnd(35);
  const pod = event.sandboxId === '' ? '' : ` pod=${shortId(event.sandboxId)}`;
  return `${event.sequence.toString().padStart(8)} ${time} ${event.topic.padEnd(18)} ${shortId(event.containerId)}${pod}${details.join('')}\n`;
}

function contentOf({ event }: berth.Event): Record<string, Json> {
  if (event === undefined) return {};
  const codec = known.find((one) => holds(event, one));
  if (codec !== undefined) return messageToJson(codec, unpackAny(codec, event));
  return { '@type': event.typeUrl, value: Buffer.from(event.value).toString('base64') };
}
