import type { Codec } from '../../wire/index.ts';
import type { RecordFormat } from './record-table.ts';

/** The names of a record's properties whose values are of that type. */
type NamesOf<T, Value> = { [Name in keyof T & string]: T[Name] extends Value ? Name : never }[keyof T & string];

export interface RecordLayout<T> {
  /** Kept as decimal text. */
  readonly bigints: readonly NamesOf<T, bigint>[];
  /** Kept as protobuf in base64, so that fields which a later version adds to the message do no harm. */
  readonly messages: { readonly [Name in keyof T & string]?: Codec<NonNullable<T[Name]>> };
}

/** JSON for a record that holds 64-bit numbers and protobuf messages as well. Everything else in it must be plain JSON. */
export function recordFormat<T extends object>({ bigints, messages }: RecordLayout<T>): RecordFormat<T> {
  const codecs = Object.entries(messages) as [string, Codec<unknown>][];
  return {
    encode: (record) => {
      const plain = { ...record } as Record<string, unknown>;
      for (const name of bigints) plain[name] = String(plain[name]);
      for (const [name, codec] of codecs) {
        if (plain[name] !== undefined) plain[name] = codec.encode(plain[name] as object).toString('base64');
      }
      return JSON.stringify(plain);
    },
    decode: (text) => {
      const plain = JSON.parse(text) as Record<string, unknown>;
      for (const name of bigints) plain[name] = BigInt((plain[name] as string | undefined) ?? 0);
      for (const [name, codec] of codecs) {
        if (plain[name] !== undefined) plain[name] = codec.decode(Buffer.from(plain[name] as string, 'base64'));
      }
      return plain as T;
    },
  };
}
