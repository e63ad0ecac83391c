import { readPodConfig } from '../config/files.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: 'POD-CONFIG.[json|yaml]',
  takes: 'file',
  count: { least: 1, most: 1 },
  details: `The file is a PodSandboxConfig of CRI; metadata.name and metadata.namespace must be in it.
Prints the id of the pod.`,
  examples: [
    `echo '{"metadata":{"name":"web","namespace":"default"},"log_directory":"/var/log/web"}' > pod.json`,
    'berthctl runp pod.json',
    'berthctl runp --runtime crun pod.yaml',
  ],
  options: {
    runtime: {
      type: 'text',
      short: 'r',
      value: 'NAME',
      help: "a runtime of berthd's configuration (default: its default)",
    },
    'cancel-timeout': { type: 'duration', short: 'T', help: 'give up after so long' },
  },
  async run({ context, options, operands: [path = ''] }) {
    const config = await readPodConfig(context, path);
    const daemon = await context.daemon();
    const { podSandboxId } = await daemon.runtime(
      `cannot run the pod ${config.metadata?.name ?? ''}`,
      'RunPodSandbox',
      { config, runtimeHandler: options.runtime },
      { deadline: options['cancel-timeout'] ?? 'slow' },
    );
    context.stdout.write(`${podSandboxId}\n`);
    return undefined;
  },
});
