import { type Codec, enumFields, type Field } from '../../wire/index.ts';
import type { Json } from './json.ts';

type Plain = Readonly<Record<string, unknown>>;

/** How a message is written. */
export interface MessageForm {
  /** 'json': lowerCamelCase, as protobuf's JSON has it. 'proto': as in the .proto file. Default 'json'. */
  readonly names?: 'json' | 'proto';
  /** Whether fields with their default are left out. Default false; absent messages and optionals always are. */
  readonly omitDefaults?: boolean;
}

/**
 * A message in protobuf's JSON: 64-bit numbers as strings, enums by name, bytes in base64, in the order of the .proto file.
 *
 * @example messageToJson(cri.Image, image)  // { "id": "sha256:..", "size": "1024", .. }
 */
export function messageToJson<T>(codec: Codec<T>, message: T, form: MessageForm = {}): Record<string, Json> {
  const plain = message as Plain;
  const names = enumFields[codec.typeName] ?? {};
  const result: Record<string, Json> = {};
  for (const [name, field] of Object.entries(codec.fields())) {
    const value = plain[name];
    if (value === undefined) continue;
    if (form.omitDefaults === true && isDefault(value)) continue;
    result[form.names === 'proto' ? protoName(name) : name] = fieldToJson(field, value, names[name], form);
  }
  return result;
}

function fieldToJson(field: Field, value: unknown, names: NameTable | undefined, form: MessageForm): Json {
  const one = (item: unknown): Json =>
    typeof field.type === 'function'
      ? messageToJson(field.type(), item, form)
      : scalarToJson(item as string | boolean | number | bigint | Uint8Array, names);
  if (field.form === 'repeated') return (value as readonly unknown[]).map(one);
  if (field.form === 'map') {
    return Object.fromEntries(Object.entries(value as Plain).map(([key, item]) => [key, one(item)]));
  }
  return one(value);
}

type NameTable = Readonly<Record<string, number>>;

function scalarToJson(value: string | boolean | number | bigint | Uint8Array, names: NameTable | undefined): Json {
  if (typeof value === 'bigint') return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (typeof value === 'number' && names !== undefined) return enumName(names, value) ?? value;
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
  return value;
}

/** The name of an enum's number, such as "CONTAINER_RUNNING". */
export function enumName(names: NameTable, value: number): string | undefined {
  return Object.keys(names).find((name) => names[name] === value);
}

/** "usageNanoCores" -> "usage_nano_cores". */
export function protoName(name: string): string {
  return name.replace(/[A-Z]+/g, (capitals, at: number) => `${at === 0 ? '' : '_'}${capitals.toLowerCase()}`);
}

function isDefault(value: unknown): boolean {
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === '' || value === 0 || value === 0n || value === false;
}
