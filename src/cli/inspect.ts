import type { Codec } from '../wire/index.ts';
import { infoToJson, type Printer } from './output/format.ts';
import type { Json } from './output/json.ts';
import { messageToJson } from './output/message-json.ts';
import { rfc3339 } from './time.ts';
import type { Context } from './context.ts';

/** How the three kinds of status are printed alike. */
export interface Inspection<Status> {
  readonly codec: Codec<Status>;
  /** Moments that are shown as dates: the field's name, and the moment or undefined where there is none. */
  readonly moments?: (status: Status) => Readonly<Record<string, bigint | undefined>>;
  readonly table: (status: Status) => string;
}

/** Prints statuses, in order. */
export async function printStatuses<Status>(
  context: Context,
  printer: Printer,
  { codec, moments, table }: Inspection<Status>,
  answers: readonly { readonly status: Status; readonly info: Readonly<Record<string, string>> }[],
): Promise<void> {
  if (printer.isTable) {
    for (const { status, info } of answers) {
      const more = Object.keys(info).length > 0 ? `Info: ${JSON.stringify(infoToJson(info))}\n` : '';
      context.stdout.write(`${table(status)}${more}`);
    }
    return;
  }
  await printer.statuses(
    answers.map(({ status, info }): Json => {
      const times = Object.entries(moments?.(status) ?? {}).map(([name, moment]) => [name, rfc3339(moment)] as const);
      return { ...infoToJson(info), status: { ...messageToJson(codec, status), ...Object.fromEntries(times) } };
    }),
  );
}
