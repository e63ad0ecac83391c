import { readContainerConfig, readPodConfig } from '../config/files.ts';
import { createContainer, createOptions } from '../create-container.ts';
import { resolvePod } from '../identity.ts';
import { defineVerb } from '../verb.ts';

export const verb = defineVerb({
  operands: 'POD CONTAINER-CONFIG.[json|yaml] POD-CONFIG.[json|yaml]',
  takes: 'file',
  count: { least: 3, most: 3 },
  details: `Makes a container in a pod that runs; "berthctl start" starts it. The files are a ContainerConfig and a PodSandboxConfig
of CRI. Prints the id of the container.`,
  examples: ['berthctl create 87d3992f84f74 container.json pod.json'],
  options: createOptions,
  async run({ context, options, operands: [pod = '', containerFile = '', podFile = ''] }) {
    const config = await readContainerConfig(context, containerFile);
    const sandboxConfig = await readPodConfig(context, podFile);
    const daemon = await context.daemon();
    const podSandboxId = await resolvePod(daemon, pod);
    const container = { podSandboxId, config, sandboxConfig };
    const id = await createContainer(context, daemon, container, options, context.settings.pullImageOnCreate);
    context.stdout.write(`${id}\n`);
    return undefined;
  },
});
