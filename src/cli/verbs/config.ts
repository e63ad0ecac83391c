import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Failure, isSystemError, messageOf, UsageError } from '../failure.ts';
import { formatTable } from '../output/table.ts';
import { defineVerb } from '../verb.ts';

const keys: Readonly<Record<string, (text: string) => string | number | boolean | undefined>> = {
  'runtime-endpoint': (text) => text,
  'image-endpoint': (text) => text,
  timeout: (text) => (/^\d+$/.test(text) ? Number(text) : undefined),
  debug: truth,
  'pull-image-on-create': truth,
  'disable-pull-on-run': truth,
};

const standardFile = '/etc/crictl.yaml';

export const verb = defineVerb({
  operands: '[KEY [VALUE] | KEY=VALUE...]',
  count: { least: 0, most: Infinity },
  details: `The file is crictl's: ${standardFile}, or that of CRI_CONFIG_FILE or --file. Without a key, shows it.
Keys: ${Object.keys(keys).join(', ')}.`,
  examples: ['berthctl config --list', 'berthctl config --get timeout', 'berthctl config --set timeout=10'],
  options: {
    file: { type: 'text', value: 'FILE', help: 'another file' },
    get: { type: 'text', value: 'KEY', help: 'show one value' },
    set: { type: 'list', value: 'KEY=VALUE', help: 'set a value; may be given more than once' },
    list: { type: 'flag', help: 'show all' },
  },
  async run({ context, options, operands }) {
    const path = options.file ?? context.environment['CRI_CONFIG_FILE'] ?? standardFile;
    const text = await textOf(path);
    const { parseDocument } = await import('yaml');
    const document = parseDocument(text);
    const wanted = options.get ?? (operands.length === 1 && !operands[0]?.includes('=') ? operands[0] : undefined);
    const changes = changesOf(options.set, wanted === undefined ? operands : []);
    if (wanted !== undefined) {
      if (!Object.hasOwn(keys, wanted)) throw noKey(wanted);
      context.stdout.write(`${shown(document.get(wanted))}\n`);
    } else if (changes.length > 0) {
      for (const [key, value] of changes) document.set(key, value);
      await save(path, document.toString());
    } else {
      context.stdout.write(
        formatTable([['KEY', 'VALUE'], ...Object.keys(keys).map((key) => [key, shown(document.get(key))])]),
      );
    }
    return undefined;
  },
});

function changesOf(set: readonly string[], operands: readonly string[]): [string, string | number | boolean][] {
  const [first = '', second] = operands;
  const pairs = operands.length === 2 && !first.includes('=') ? [`${first}=${second ?? ''}`] : operands;
  return [...set, ...pairs]
    .flatMap((text) => text.split(','))
    .map((pair) => {
      const at = pair.indexOf('=');
      const key = pair.slice(0, Math.max(at, 0));
      const text = pair.slice(at + 1);
      if (at < 0) throw new UsageError(`"${pair}" is not KEY=VALUE`);
      if (!Object.hasOwn(keys, key)) throw noKey(key);
      const value = keys[key]?.(text);
      if (value === undefined) throw new UsageError(`${key} cannot be "${text}"`);
      return [key, value];
    });
}

function noKey(key: string): UsageError {
  return new UsageError(`there is no key "${key}"`, `keys: ${Object.keys(keys).join(', ')}`);
}

function truth(text: string): boolean | undefined {
  return text === 'true' ? true : text === 'false' ? false : undefined;
}

function shown(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return '';
    throw new Failure(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function save(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  } catch (error) {
    const next = isSystemError(error, 'EACCES', 'EPERM') ? 'try again with sudo' : undefined;
    throw new Failure(`cannot write ${path}: ${messageOf(error)}`, { next, cause: error });
  }
}
