import { bashScript, type CompletedVerb, fishScript, zshScript } from '../completion-scripts.ts';
import { UsageError } from '../failure.ts';
import { defineVerb } from '../verb.ts';
import { verbs } from './index.ts';

const scripts: Readonly<Record<string, (verbs: readonly CompletedVerb[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

export const verb = defineVerb({
  operands: '[bash|zsh|fish]',
  count: { least: 0, most: 1 },
  details: 'Prints a script that lets your shell complete verbs, options, and ids of containers, pods and images.',
  examples: [
    'source <(berthctl completion bash)',
    'source <(berthctl completion zsh)',
    'berthctl completion fish | source',
  ],
  options: {},
  async run({ context, operands: [shell = 'bash'] }) {
    const script = Object.hasOwn(scripts, shell) ? scripts[shell] : undefined;
    if (script === undefined)
      throw new UsageError(`there is no completion for "${shell}"`, 'for bash, zsh and fish there is');
    const completed = verbs.map(async ({ name, summary, load }): Promise<CompletedVerb> => {
      const { takes, options } = (await load()).verb;
      return { name, summary, takes, options };
    });
    context.stdout.write(script(await Promise.all(completed)));
    return undefined;
  },
});
