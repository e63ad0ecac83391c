import { open, rename, rm } from 'node:fs/promises';
import type { Context } from '../context.ts';
import type { Daemon } from '../daemon.ts';
import { Failure, messageOf, UsageError } from '../failure.ts';
import { defineVerb } from '../verb.ts';

const archiveFormats = ['oci-archive', 'docker-archive'];

export const verb = defineVerb({
  operands: 'IMAGE',
  takes: 'image',
  count: { least: 1, most: 1 },
  details: 'Writes an archive of an image. The file appears when it is complete.',
  examples: ['berthctl save -o busybox.tar busybox', 'berthctl save app:1.2 | ssh node berthctl load'],
  options: {
    output: { type: 'text', short: 'o', value: 'FILE', help: 'where to (default: stdout)' },
    format: { type: 'text', help: `${archiveFormats.join(' or ')} (default oci-archive)` },
  },
  async run({ context, options, operands: [image = ''] }) {
    const format = options.format ?? 'oci-archive';
    if (!archiveFormats.includes(format))
      throw new UsageError(`--format is ${archiveFormats.join(' or ')}, not "${format}"`);
    const path = options.output === '-' ? undefined : options.output;
    if (path === undefined && context.stdout.isTerminal) {
      throw new UsageError('an archive does not go to a terminal', 'berthctl save -o FILE IMAGE');
    }
    const daemon = await context.daemon();
    if (path === undefined) await toStdout(context, daemon, image, format);
    else await toFile(daemon, image, format, path);
    return undefined;
  },
});

async function toStdout(context: Context, daemon: Daemon, image: string, format: string): Promise<void> {
  for await (const { content } of daemon.save({ image, format })) {
    context.stdout.write(content);
    await context.stdout.drained();
  }
}

async function toFile(daemon: Daemon, image: string, format: string, path: string): Promise<void> {
  const part = `${path}.part-${process.pid}`;
  try {
    const file = await open(part, 'wx');
    try {
      for await (const { content } of daemon.save({ image, format })) await file.writeFile(content);
    } finally {
      await file.close();
    }
    await rename(part, path);
  } catch (error) {
    await rm(part, { force: true });
    if (error instanceof Failure) throw error;
    throw new Failure(`cannot save ${image} to ${path}: ${messageOf(error)}`, { cause: error });
  }
}
