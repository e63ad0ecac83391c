import type { envelopes } from '../wire/index.ts';

/** What a client sends along with a call: values by key. Keys are matched in lower case, as Go's ttRPC does. */
export class Metadata {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  constructor(pairs: readonly envelopes.KeyValue[]) {
    const values = new Map<string, string[]>();
    for (const { key, value } of pairs) {
      const lower = key.toLowerCase();
      const list = values.get(lower);
      if (list) list.push(value);
      else values.set(lower, [value]);
    }
    this.#values = values;
  }

  /** The key's first value. */
  get(key: string): string | undefined {
    return this.#values.get(key.toLowerCase())?.[0];
  }

  /** All of the key's values, in the order in which they were sent. */
  all(key: string): readonly string[] {
    return this.#values.get(key.toLowerCase()) ?? [];
  }
}

/** Metadata to send: a value or several by key. */
export type MetadataInit = Readonly<Record<string, string | readonly string[]>>;
