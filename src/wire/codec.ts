import { DecodeError, maxDepth, Reader } from './reader.ts';
import { Writer } from './writer.ts';

/**
 * What may be encoded as a T: any field can be left out (its default is then what the reader sees), and a 64-bit number
 * may be given as a number too.
 */
export type Init<T> = T extends string | number | boolean | Uint8Array | undefined
  ? T
  : T extends bigint
    ? bigint | number
    : T extends readonly (infer Item)[]
      ? readonly Init<Item>[]
      : { readonly [Name in keyof T]?: Init<T[Name]> | undefined };

/** Turns messages of one type into bytes and back. */
export interface Codec<T> {
  /** Full name, such as "containerd.task.v3.StateRequest". */
  readonly typeName: string;

  /** How the fields are laid out, by their names and in the order of the .proto file; for those who print any message. */
  readonly fields: () => Readonly<Record<string, Field>>;

  encode(message: Init<T>): Buffer;

  /** Appends the encoded message to what the writer has. */
  write(message: Init<T>, writer: Writer): void;

  /**
   * Every field of the result is there, with its default if the bytes lack it. Fields of type `bytes` are views onto
   * the argument. Unknown fields are passed over.
   * @throws {DecodeError} when the bytes are no such message
   */
  decode(bytes: Uint8Array): T;
}

export type Scalar = 'string' | 'bytes' | 'bool' | 'int32' | 'uint32' | 'int64' | 'uint64' | 'double';

/** How one field is laid out. The functions below make them; only generated code calls those. */
export interface Field {
  readonly number: number;
  readonly type: Scalar | (() => Codec<unknown>);
  readonly form: 'single' | 'optional' | 'repeated' | 'map';
}

/** A field that has its default when it is absent; a message field is undefined then. */
export const single = (number: number, type: Field['type']): Field => ({ number, type, form: 'single' });

/** A field, or a member of a oneof, that can be told apart from its default when absent: it is undefined then. */
export const optional = (number: number, type: Field['type']): Field => ({ number, type, form: 'optional' });

/** A list. */
export const repeated = (number: number, type: Field['type']): Field => ({ number, type, form: 'repeated' });

/** A map from strings. */
export const map = (number: number, type: Field['type']): Field => ({ number, type, form: 'map' });

/** A codec from a table of fields, which is asked for when the codec is first used. */
export function message<T>(typeName: string, fields: () => Readonly<Record<keyof T & string, Field>>): Codec<T> {
  return new TableCodec(typeName, fields) as unknown as Codec<T>;
}

/** Where a message keeps its bytes. */
const kept = Symbol('encoded');

/**
 * The same message with its bytes, which are made once: for one that is written again and again. It must not change any more. A copy of it
 * does not have them.
 */
export function keepEncoded<T>(codec: Codec<T>, message: Init<T> & object): Init<T> & object {
  return Object.defineProperty(message, kept, { value: codec.encode(message) });
}

type Plain = Record<string, unknown> & { [kept]?: Uint8Array };

const wireTypes: Readonly<Record<Scalar, number>> = {
  string: 2,
  bytes: 2,
  bool: 0,
  int32: 0,
  uint32: 0,
  int64: 0,
  uint64: 0,
  double: 1,
};

const noBytes = Buffer.alloc(0);

const defaults: Readonly<Record<Scalar, unknown>> = {
  string: '',
  bytes: noBytes,
  bool: false,
  int32: 0,
  uint32: 0,
  int64: 0n,
  uint64: 0n,
  double: 0,
};

interface Slot {
  readonly name: string;
  readonly form: Field['form'];
  readonly scalar: Scalar | undefined;
  readonly codec: (() => TableCodec) | undefined;
  /** The wire type of one value. */
  readonly wireType: number;
  /** The tag to write: packed lists and maps are length-delimited. */
  readonly tag: number;
}

class TableCodec {
  readonly typeName: string;
  readonly fields: () => Readonly<Record<string, Field>>;
  #slots: readonly Slot[] | undefined;
  #byNumber: ReadonlyMap<number, Slot> = new Map();
  #blank: Plain = {};

  constructor(typeName: string, fields: () => Readonly<Record<string, Field>>) {
    this.typeName = typeName;
    this.fields = fields;
  }

  encode(message: Plain): Buffer {
    const writer = new Writer();
    this.write(message, writer);
    return writer.finish();
  }

  write(message: Plain, writer: Writer): void {
    const bytes = message[kept];
    if (bytes !== undefined) {
      writer.append(bytes);
      return;
    }
    for (const slot of this.#slots ?? this.#prepare()) {
      const value = message[slot.name];
      if (value === undefined || value === null) continue;
      if (slot.form === 'repeated') writeList(slot, value as readonly unknown[], writer);
      else if (slot.form === 'map') writeMap(slot, value as Plain, writer);
      else if (slot.form === 'optional' || !isDefault(value)) {
        writer.uint32(slot.tag);
        writeValue(slot, value, writer);
      }
    }
  }

  decode(bytes: Uint8Array): Plain {
    return this.read(new Reader(bytes), 0, undefined);
  }

  /** Reads up to the reader's end. Into `onto`, if there is one: a message field may come in several parts. */
  read(reader: Reader, depth: number, onto: Plain | undefined): Plain {
    if (depth > maxDepth) throw new DecodeError(`${this.typeName} lies more than ${maxDepth} messages deep`);
    const slots = this.#slots ?? this.#prepare();
    const message = onto ?? this.#empty(slots);
    while (reader.position < reader.end) {
      const tag = reader.uint32();
      if (tag >>> 3 === 0) throw new DecodeError(`${this.typeName} has a field with number 0`);
      const slot = this.#byNumber.get(tag >>> 3);
      if (!slot || !readField(slot, tag & 7, message, reader, depth)) reader.skip(tag);
    }
    return message;
  }

  #empty(slots: readonly Slot[]): Plain {
    const message = { ...this.#blank };
    for (const { form, name } of slots) {
      if (form === 'repeated') message[name] = [];
      else if (form === 'map') message[name] = {};
    }
    return message;
  }

  #prepare(): readonly Slot[] {
    const slots = Object.entries(this.fields()).map(([name, { number, type, form }]): Slot => {
      const scalar = typeof type === 'string' ? type : undefined;
      const wireType = scalar ? wireTypes[scalar] : 2;
      return {
        name,
        form,
        scalar,
        codec: scalar ? undefined : (type as unknown as () => TableCodec),
        wireType,
        tag: (number << 3) | (form === 'single' || form === 'optional' ? wireType : 2),
      };
    });
    this.#byNumber = new Map(slots.map((slot) => [slot.tag >>> 3, slot]));
    this.#blank = Object.fromEntries(
      slots.map(({ name, form, scalar }) => [name, form === 'single' && scalar ? defaults[scalar] : undefined]),
    );
    return (this.#slots = slots);
  }
}

function isDefault(value: unknown): boolean {
  return (
    value === '' || value === false || value === 0 || value === 0n || (value instanceof Uint8Array && !value.length)
  );
}

function writeValue(slot: Slot, value: unknown, writer: Writer): void {
  switch (slot.scalar) {
    case undefined: {
      const mark = writer.open();
      slot.codec?.().write(value as Plain, writer);
      writer.close(mark);
      return;
    }
    case 'string':
      writer.string(value as string);
      return;
    case 'bytes':
      writer.bytes(value as Uint8Array);
      return;
    case 'bool':
      writer.uint32(value === true ? 1 : 0);
      return;
    case 'int32':
      writer.int32(value as number);
      return;
    case 'uint32':
      writer.uint32(value as number);
      return;
    case 'int64':
    case 'uint64':
      if (typeof value === 'number' && value >= 0 && value <= 0xffffffff) writer.uint32(value);
      else writer.varint64(BigInt(value as bigint | number));
      return;
    case 'double':
      writer.double(value as number);
      return;
  }
}

function writeList(slot: Slot, values: readonly unknown[], writer: Writer): void {
  if (slot.wireType === 2) {
    for (const value of values) {
      writer.uint32(slot.tag);
      writeValue(slot, value, writer);
    }
  } else if (values.length) {
    writer.uint32(slot.tag);
    const mark = writer.open();
    for (const value of values) writeValue(slot, value, writer);
    writer.close(mark);
  }
}

function writeMap(slot: Slot, entries: Plain, writer: Writer): void {
  for (const key of Object.keys(entries)) {
    writer.uint32(slot.tag);
    const mark = writer.open();
    writer.uint32((1 << 3) | 2);
    writer.string(key);
    writer.uint32((2 << 3) | slot.wireType);
    writeValue(slot, entries[key], writer);
    writer.close(mark);
  }
}

/** False when the value on the wire is not of the field's type; the format says to treat it as unknown. */
function readField(slot: Slot, wireType: number, message: Plain, reader: Reader, depth: number): boolean {
  switch (slot.form) {
    case 'map':
      if (wireType !== 2) return false;
      readEntry(slot, message[slot.name] as Plain, reader, depth);
      return true;
    case 'repeated': {
      const list = message[slot.name] as unknown[];
      if (wireType === slot.wireType) {
        list.push(readValue(slot, reader, depth, undefined));
        return true;
      }
      if (wireType !== 2) return false;
      const outer = reader.enter();
      while (reader.position < reader.end) list.push(readValue(slot, reader, depth, undefined));
      reader.leave(outer);
      return true;
    }
    default:
      if (wireType !== slot.wireType) return false;
      message[slot.name] = readValue(slot, reader, depth, message[slot.name] as Plain | undefined);
      return true;
  }
}

function readValue(slot: Slot, reader: Reader, depth: number, onto: Plain | undefined): unknown {
  switch (slot.scalar) {
    case undefined: {
      const outer = reader.enter();
      const value = slot.codec?.().read(reader, depth + 1, onto);
      reader.leave(outer);
      return value;
    }
    case 'string':
      return reader.string();
    case 'bytes':
      return reader.bytes();
    case 'bool':
      return reader.bool();
    case 'int32':
      return reader.uint32() | 0;
    case 'uint32':
      return reader.uint32();
    case 'int64':
      return reader.int64();
    case 'uint64':
      return reader.uint64();
    case 'double':
      return reader.double();
  }
}

function readEntry(slot: Slot, entries: Plain, reader: Reader, depth: number): void {
  let key = '';
  let value: unknown;
  const outer = reader.enter();
  while (reader.position < reader.end) {
    const tag = reader.uint32();
    if (tag === ((1 << 3) | 2)) key = reader.string();
    else if (tag === ((2 << 3) | slot.wireType)) value = readValue(slot, reader, depth, undefined);
    else reader.skip(tag);
  }
  reader.leave(outer);
  value ??= slot.scalar ? defaults[slot.scalar] : slot.codec?.().decode(noBytes);
  // Plain assignment to this one key would change the object's prototype.
  if (key === '__proto__')
    Object.defineProperty(entries, key, { value, enumerable: true, configurable: true, writable: true });
  else entries[key] = value;
}
