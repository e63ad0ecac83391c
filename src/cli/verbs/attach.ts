import { NotSupportedError } from '../failure.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: 'CONTAINER-ID',
  takes: 'container',
  count: { least: 0, most: Infinity },
  stopAtOperand: true,
  details:
    'Attaching comes with a later version; this one exits with 5. "berthctl logs -f" shows what a container writes.',
  examples: ['berthctl logs -f 1f73f2d81bf98'],
  options: {},
  run() {
    return Promise.reject(
      new NotSupportedError('attach is not in this version', 'berthctl logs -f ID shows the output'),
    );
  },
});
