/** The command line that containerd's shim protocol defines. */
export interface ShimArguments {
  action: 'serve' | 'start' | 'delete' | 'version' | 'info' | 'help';
  namespace: string;
  id: string;
  /** The manager's gRPC address. */
  address: string;
  bundle: string;
  publishBinary: string;
  debug: boolean;
}

export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const valueFlags = new Map<string, 'namespace' | 'id' | 'address' | 'bundle' | 'publishBinary' | 'ignored'>([
  ['namespace', 'namespace'],
  ['id', 'id'],
  ['address', 'address'],
  ['bundle', 'bundle'],
  ['publish-binary', 'publishBinary'],
  ['socket', 'ignored'],
  ['debug-socket', 'ignored'],
]);

const actions = { v: 'version', version: 'version', info: 'info', h: 'help', help: 'help' } as const;

/**
 * Reads flags as Go's flag package does: `-name value`, `-name=value`, one or two dashes, up to the first other argument.
 * @throws UsageError naming the argument
 */
export function parseArguments(argv: readonly string[]): ShimArguments {
  const parsed: ShimArguments = {
    action: 'serve',
    namespace: '',
    id: '',
    address: '',
    bundle: '',
    publishBinary: '',
    debug: false,
  };
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    const flag = /^--?([a-z][a-z-]*)(?:=(.*))?$/s.exec(argument);
    if (flag === null) {
      if (argument !== 'start' && argument !== 'delete')
        throw new UsageError(`unknown command "${argument}": use start or delete`);
      parsed.action = argument;
      if (rest.length > 0) throw new UsageError(`"${rest[0] ?? ''}" after the command ${argument}: flags go before it`);
      break;
    }
    const [, name = '', inline] = flag;
    const field = valueFlags.get(name);
    if (field !== undefined) {
      const value = inline ?? rest.shift();
      if (value === undefined) throw new UsageError(`flag -${name} needs a value`);
      if (field !== 'ignored') parsed[field] = value;
    } else if (name === 'debug') {
      parsed.debug = inline !== 'false';
    } else if (name in actions) {
      parsed.action = actions[name as keyof typeof actions];
    } else {
      throw new UsageError(`unknown flag -${name}`);
    }
  }
  return parsed;
}
