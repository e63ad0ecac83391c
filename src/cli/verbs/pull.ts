import { readPodConfig } from '../config/files.ts';
import { parsePairs } from '../labels.ts';
import { credentialOptions, credentials } from '../pull/credentials.ts';
import { pullImage } from '../pull/pull.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: 'NAME[:TAG|@DIGEST]',
  count: { least: 1, most: 1 },
  details: `Shows a bar for each layer on a terminal, else a line for each step of a layer.
Without --creds the credentials of the server's own configuration are used, if there are any.`,
  examples: ['berthctl pull busybox', 'berthctl pull --creds me:secret registry.example.org/app:1.2'],
  options: {
    ...credentialOptions,
    annotation: { type: 'list', short: 'a', value: 'KEY=VALUE', help: 'set on the pulled image' },
    'pod-config': { type: 'text', value: 'FILE', help: 'pull as for this pod' },
  },
  async run({ context, options, operands: [image = ''] }) {
    const pod = options['pod-config'] === undefined ? undefined : await readPodConfig(context, options['pod-config']);
    const order = {
      image,
      pod,
      auth: credentials(options, context.environment),
      annotations: parsePairs('--annotation', options.annotation),
      timeoutMs: options['pull-timeout'],
    };
    const reference = await pullImage(context, await context.daemon(), order, context.stdout);
    context.stdout.write(`Image is up to date for ${reference}\n`);
    return undefined;
  },
});
