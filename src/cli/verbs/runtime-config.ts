import { cri } from '../../wire/index.ts';
import { outputOptions, Printer } from '../output/format.ts';
import { enumName } from '../output/message-json.ts';
import { formatTable } from '../output/table.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '',
  examples: ['berthctl runtime-config'],
  options: outputOptions,
  async run({ context, options }) {
    const printer = await Printer.of(options, context.stdout, 'table');
    const daemon = await context.daemon();
    const answer = await daemon.runtime("cannot get the runtime's configuration", 'RuntimeConfig', {});
    await printer.message(cri.RuntimeConfigResponse, answer, () => {
      const driver = answer.linux?.cgroupDriver;
      if (driver === undefined) return '';
      return formatTable([['cgroup driver:', enumName(cri.CgroupDriver, driver) ?? String(driver)]], 10);
    });
    return undefined;
  },
});
