import { type Codec, events, holds, type protobuf } from '../../wire/index.ts';

const codecs = Object.values(events).filter((value): value is typeof value & Codec<unknown> => 'typeName' in value);

/** A field of a message of containerd.events by its path in the .proto file, such as `container_id` or `io.stdin`; see FieldOf. */
export function messageField(any: protobuf.Any, path: readonly string[]): string | undefined {
  const codec = (codecs as readonly Codec<unknown>[]).find((one) => holds(any, one));
  if (codec === undefined) return undefined;
  try {
    return fieldOf(codec.decode(any.value), path);
  } catch {
    return undefined;
  }
}

/** containerd looks at strings and booleans alone, and takes an empty string for none. */
function fieldOf(value: unknown, [name, ...rest]: readonly string[]): string | undefined {
  if (name === undefined) {
    if (typeof value === 'boolean') return String(value);
    return typeof value === 'string' && value !== '' ? value : undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const key = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  return Object.hasOwn(value, key) ? fieldOf((value as Record<string, unknown>)[key], rest) : undefined;
}
