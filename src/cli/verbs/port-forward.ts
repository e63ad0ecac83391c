import { NotSupportedError } from '../failure.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: 'POD-ID [LOCAL_PORT:]REMOTE_PORT',
  takes: 'pod',
  count: { least: 0, most: Infinity },
  stopAtOperand: true,
  details: `Forwarding ports comes with a later version; this one exits with 5.
From this machine a pod answers at its own address.`,
  examples: ["berthctl inspectp -o go-template --template '{{.status.network.ip}}' 87d3992f84f74"],
  options: {},
  run() {
    const next = 'from this machine a pod answers at its own address: berthctl inspectp -o table ID';
    return Promise.reject(new NotSupportedError('port-forward is not in this version', next));
  },
});
