import { UsageError } from '../failure.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: '',
  details:
    "Gives the server the node's range of pod addresses, which it puts into its template of a CNI configuration.",
  examples: ['berthctl update-runtime-config --pod-cidr 10.88.0.0/16'],
  options: { 'pod-cidr': { type: 'text', short: 'p', value: 'CIDR', help: 'the range; several with commas between' } },
  async run({ context, options }) {
    const podCidr = options['pod-cidr'];
    if (podCidr === undefined) throw new UsageError('--pod-cidr is missing');
    const daemon = await context.daemon();
    const request = { runtimeConfig: { networkConfig: { podCidr } } };
    await daemon.runtime("cannot set the pods' address range", 'UpdateRuntimeConfig', request);
    context.say('Runtime config successfully updated');
    return undefined;
  },
});
