import { cri } from '../../wire/index.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '',
  details: 'Of the server that answers; "berthctl --version" is that of berthctl.',
  examples: ['berthctl version'],
  options: outputOptions,
  async run({ context, options }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const daemon = await context.daemon();
    const answer = await daemon.runtime("cannot get the server's version", 'Version', { version: 'v1' });
    await printer.message(
      cri.VersionResponse,
      answer,
      () =>
        `Version:  ${answer.version}\n` +
        `RuntimeName:  ${answer.runtimeName}\n` +
        `RuntimeVersion:  ${answer.runtimeVersion}\n` +
        `RuntimeApiVersion:  ${answer.runtimeApiVersion}\n`,
    );
    return undefined;
  },
});
