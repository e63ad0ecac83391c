import type { OptionSpec, OptionSpecs } from './options.ts';
import { globalOptions } from './settings.ts';
import type { Verb } from './verb.ts';
import { type VerbEntry, verbs } from './verbs/index.ts';

const exitCodes = `Exit codes:
  0 done · 1 failed · 2 command line not understood · 3 no such container, pod or image · 4 no answer from berthd
  5 not in this version · 125 run/exec: berthctl or berthd failed · 126 run: cannot execute the command
  127 run: command not found · 130 interrupted`;

/** What "berthctl help" shows. */
export function overview(): string {
  const width = Math.max(...verbs.map(({ name }) => name.length)) + 2;
  const groups = Map.groupBy(verbs, ({ group }) => group);
  const lists = [...groups].map(([group, entries]) => {
    const rows = entries.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}\n`);
    return `${group}:\n${rows.join('')}`;
  });
  return `berthctl - look after the containers of this machine

Usage: berthctl [GLOBAL OPTIONS] VERB [OPTIONS] [OPERANDS]

Something is wrong?   berthctl doctor          what is amiss, and the command that mends it
What runs?            berthctl ps -a           all containers; "berthctl pods" for the pods
Why did it end?       berthctl inspect ID      exit code and reason; "berthctl logs ID" for its output
Try an image:         berthctl run --rm busybox echo hello

${lists.join('\n')}
Global options (before the verb):
${optionLines(globalOptions)}
${exitCodes}

"berthctl VERB --help" has each verb's options and examples. An ID may be shortened as long as it is the only one.
`;
}

/** What "berthctl VERB --help" shows. */
export function verbHelp(entry: VerbEntry, verb: Verb): string {
  const hasOptions = Object.keys(verb.options).length > 0;
  const usage = ['berthctl', entry.name, hasOptions && '[OPTIONS]', verb.operands].filter(Boolean).join(' ');
  const parts = [
    `berthctl ${entry.name} - ${entry.summary}`,
    `Usage: ${usage}`,
    entry.aliases && `Also called: ${entry.aliases.join(', ')}`,
    verb.details,
    `Example${verb.examples.length > 1 ? 's' : ''}:\n${verb.examples.map((line) => `  ${line}`).join('\n')}`,
    hasOptions && `Options:\n${optionLines(verb.options).trimEnd()}`,
  ];
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}

function optionLines(options: OptionSpecs): string {
  const rows = Object.entries(options).map(([name, spec]) => ({ head: headOf(name, spec), help: spec.help }));
  const width = Math.max(...rows.map(({ head }) => head.length)) + 2;
  return rows
    .map(({ head, help }) => `  ${head.padEnd(width)}${help.replaceAll('\n', `\n  ${' '.repeat(width)}`)}\n`)
    .join('');
}

function headOf(name: string, { short, type, value }: OptionSpec): string {
  const metavar = { flag: '', text: ' TEXT', list: ' TEXT', whole: ' N', duration: ' TIME' }[type];
  return `${short === undefined ? '    ' : `-${short}, `}--${name}${value === undefined ? metavar : ` ${value}`}`;
}
