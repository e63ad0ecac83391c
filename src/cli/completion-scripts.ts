import type { OptionSpecs } from './options.ts';
import { globalOptions } from './settings.ts';
import type { Taken } from './verb.ts';

/** What a shell completes for one verb. */
export interface CompletedVerb {
  readonly name: string;
  readonly summary: string;
  readonly takes: Taken | undefined;
  readonly options: OptionSpecs;
}

/** The command that lists what a verb takes. */
const lists: Readonly<Record<Exclude<Taken, 'file'>, string>> = {
  container: 'berthctl ps -aq 2>/dev/null',
  pod: 'berthctl pods -q 2>/dev/null',
  image: `berthctl images 2>/dev/null | awk 'NR > 1 { print $1 ":" $2 }'`,
};

const globals = Object.keys(globalOptions).map((name) => `--${name}`);

function flags(options: OptionSpecs): string[] {
  return [...Object.keys(options), 'help'].map((name) => `--${name}`);
}

export function bashScript(verbs: readonly CompletedVerb[]): string {
  const cases = verbs.map(({ name, takes, options }) => {
    const values =
      takes === undefined ? '' : takes === 'file' ? ' files=1' : ` list="$(${lists[takes].replaceAll('"', '\\"')})"`;
    const words = `words="${flags(options).join(' ')}"`;
    return `    ${name}) ${words};${values} ;;`;
  });
  return `# bash completion of berthctl: source <(berthctl completion bash)
_berthctl() {
  local current=\${COMP_WORDS[COMP_CWORD]} verb= word words= list= files=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) verb=$word; break ;; esac
  done
  case $verb in
    "") words="${[...verbs.map(({ name }) => name), ...globals].join(' ')}" ;;
${cases.join('\n')}
  esac
  if [ -n "$files" ] && [[ $current != -* ]]; then COMPREPLY=($(compgen -f -- "$current")); return; fi
  [[ $current == -* || -z $verb ]] || words=$list
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _berthctl berthctl
`;
}

export function zshScript(verbs: readonly CompletedVerb[]): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const cases = verbs.map(({ name, takes, options }) => {
    const specs = Object.entries(options).map(([option, { help, type }]) => {
      const text = help.replaceAll(/[[\]:]/g, ' ');
      return quote(`--${option}[${text}]${type === 'flag' ? '' : ':value:'}`);
    });
    const operand =
      takes === undefined
        ? ''
        : takes === 'file'
          ? ` '*:file:_files'`
          : ` "*:${takes}:($(${lists[takes].replaceAll('"', '\\"').replaceAll('$1', '\\$1').replaceAll('$2', '\\$2')}))"`;
    return `    ${name}) _arguments ${specs.join(' ')}${operand} ;;`;
  });
  return `#compdef berthctl
# zsh completion of berthctl: source <(berthctl completion zsh)
_berthctl() {
  local -a verbs
  verbs=(${verbs.map(({ name, summary }) => quote(`${name}:${summary}`)).join(' ')})
  if (( CURRENT == 2 )); then
    _describe verb verbs
    compadd -- ${globals.join(' ')}
    return
  fi
  local verb=$words[2]
  shift words
  (( CURRENT-- ))
  case $verb in
${cases.join('\n')}
  esac
}
compdef _berthctl berthctl
`;
}

export function fishScript(verbs: readonly CompletedVerb[]): string {
  const quote = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = verbs.flatMap(({ name, summary, takes, options }) => {
    const when = `-n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c berthctl -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`,
      ...(takes === 'file'
        ? [`complete -c berthctl ${when} -F`]
        : takes === undefined
          ? []
          : [`complete -c berthctl ${when} -a ${quote(`(${lists[takes]})`)}`]),
      ...Object.entries(options).map(([option, { short, help, type }]) => {
        const letter = short === undefined ? '' : ` -s ${short}`;
        return `complete -c berthctl ${when} -l ${option}${letter}${type === 'flag' ? '' : ' -r'} -d ${quote(help)}`;
      }),
    ];
  });
  const global = Object.entries(globalOptions).map(
    ([name, { short, help, type }]) =>
      `complete -c berthctl -n __fish_use_subcommand -l ${name} -s ${short}${type === 'flag' ? '' : ' -r'} -d ${quote(help)}`,
  );
  return `# fish completion of berthctl: berthctl completion fish | source\ncomplete -c berthctl -f\n${[...global, ...lines].join('\n')}\n`;
}
