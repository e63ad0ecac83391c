import { type Codec, enumFields, type Field, type Init } from '../../wire/index.ts';
import { Failure } from '../failure.ts';

type Plain = Record<string, unknown>;

/** Fields of type `bytes` that people write as they are, not in base64. */
const plainBytes = new Set(['runtime.v1.KeyValue.value']);

/**
 * What a JSON or YAML file says, as a message. Names may be those of the .proto file ("log_directory") or JSON's ("logDirectory");
 * enums may be names or numbers, 64-bit numbers also texts.
 * @param unknown told of each key that the message does not have, such as "linux.foo"
 * @throws {Failure} that names the place of a value of the wrong kind
 */
export function messageFromJson<T>(codec: Codec<T>, value: unknown, unknown: (place: string) => void): Init<T> {
  return readMessage(codec, value, '', unknown) as Init<T>;
}

function readMessage(codec: Codec<unknown>, value: unknown, place: string, unknown: (place: string) => void): Plain {
  const source = objectAt(value, place);
  const fields = codec.fields();
  const byName = new Map(Object.keys(fields).map((name) => [bare(name), name]));
  const result: Plain = {};
  for (const [key, item] of Object.entries(source)) {
    const here = place === '' ? key : `${place}.${key}`;
    const name = byName.get(bare(key));
    const field = name === undefined ? undefined : fields[name];
    if (name === undefined || field === undefined) {
      unknown(here);
    } else if (item !== null && item !== undefined) {
      result[name] = readField(codec.typeName, name, field, item, here, unknown);
    }
  }
  return result;
}

/** The same for both ways to write a name. */
function bare(name: string): string {
  return name.replaceAll('_', '').toLowerCase();
}

function readField(
  owner: string,
  name: string,
  field: Field,
  value: unknown,
  place: string,
  unknown: (place: string) => void,
): unknown {
  const { type } = field;
  const one = (item: unknown, at: string): unknown => {
    if (typeof type === 'function') return readMessage(type(), item, at, unknown);
    const names = enumFields[owner]?.[name];
    if (names !== undefined) return readEnum(names, item, at);
    if (type === 'bytes' && plainBytes.has(`${owner}.${name}`)) return Buffer.from(textAt(item, at));
    return readScalar(type, item, at);
  };
  if (field.form === 'repeated') {
    if (!Array.isArray(value)) throw wrong(place, 'a list', value);
    return value.map((item, index) => one(item, `${place}[${index}]`));
  }
  if (field.form === 'map') {
    const entries = Object.entries(objectAt(value, place));
    return Object.fromEntries(entries.map(([key, item]) => [key, one(item, `${place}.${key}`)]));
  }
  return one(value, place);
}

function readEnum(names: Readonly<Record<string, number>>, value: unknown, place: string): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  const number = typeof value === 'string' ? (names[value] ?? names[value.toUpperCase()]) : undefined;
  if (number === undefined) throw wrong(place, `one of ${Object.keys(names).slice(0, 6).join(', ')}`, value);
  return number;
}

function readScalar(type: Exclude<Field['type'], () => unknown>, value: unknown, place: string): unknown {
  switch (type) {
    case 'string':
      return textAt(value, place);
    case 'bytes':
      return Buffer.from(textAt(value, place), 'base64');
    case 'bool':
      if (typeof value !== 'boolean') throw wrong(place, 'true or false', value);
      return value;
    case 'double':
      if (typeof value !== 'number') throw wrong(place, 'a number', value);
      return value;
    case 'int32':
    case 'uint32':
      if (typeof value !== 'number' || !Number.isInteger(value)) throw wrong(place, 'a whole number', value);
      return value;
    case 'int64':
    case 'uint64':
      if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
      if (typeof value === 'bigint') return value;
      if (typeof value === 'string' && /^-?\d+$/.test(value)) return BigInt(value);
      throw wrong(place, 'a whole number', value);
  }
}

function textAt(value: unknown, place: string): string {
  if (typeof value !== 'string') throw wrong(place, 'a text', value);
  return value;
}

function objectAt(value: unknown, place: string): Plain {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(place, 'an object', value);
  return value as Plain;
}

function wrong(place: string, expected: string, value: unknown): Failure {
  const what = typeof value === 'object' ? (Array.isArray(value) ? 'a list' : 'an object') : JSON.stringify(value);
  return new Failure(`${place === '' ? 'the file' : place} must be ${expected}, not ${what}`);
}
