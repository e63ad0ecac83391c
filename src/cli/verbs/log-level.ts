import { UsageError } from '../failure.ts';
import { defineVerb } from '../verb.ts';

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

export const verb = defineVerb({
  operands: '[LEVEL]',
  count: { least: 0, most: 1 },
  details: `Without a level, shows how much berthd logs; with one, changes it until berthd is started again.
Levels: ${levels.join(', ')}.`,
  examples: ['berthctl log-level', 'berthctl log-level debug'],
  options: {},
  async run({ context, operands: [wanted = ''] }) {
    if (wanted !== '' && !levels.includes(wanted)) {
      throw new UsageError(`there is no level "${wanted}"`, `levels: ${levels.join(', ')}`);
    }
    const { level } = await (await context.daemon()).setLogLevel(wanted);
    context.stdout.write(`${level}\n`);
    return undefined;
  },
});
