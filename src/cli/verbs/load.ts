import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Failure, isSystemError, messageOf, UsageError } from '../failure.ts';
import { shortId } from '../output/table.ts';
import { defineVerb } from '../verb.ts';

const chunkBytes = 512 * 1024;

export const verb = defineVerb({
  operands: '',
  details:
    'Takes the images of an OCI or docker archive, such as "berthctl save", "docker save" or "skopeo copy" write.',
  examples: ['berthctl load -i busybox.tar', 'ssh build berthctl save app:1.2 | berthctl load'],
  options: { input: { type: 'text', short: 'i', value: 'FILE', help: 'the archive (default: stdin)' } },
  async run({ context, options }) {
    const path = options.input;
    const file = path !== undefined && path !== '-' ? path : undefined;
    const stdin = file === undefined ? context.stdin() : undefined;
    if (stdin?.isTTY === true) throw new UsageError('there is no archive on stdin', 'berthctl load -i FILE');
    if (file !== undefined) await mustBeThere(file);
    const source = stdin ?? createReadStream(file ?? '', { highWaterMark: chunkBytes });
    const daemon = await context.daemon();
    const { images } = await daemon.load(chunksOf(source));
    if (images.length === 0) context.say('The archive has no images');
    for (const { imageId, tags } of images) {
      context.stdout.write(
        (tags.length > 0 ? tags : [shortId(imageId)]).map((name) => `Loaded image: ${name}\n`).join(''),
      );
    }
    return undefined;
  },
});

async function mustBeThere(path: string): Promise<void> {
  try {
    if ((await stat(path)).isDirectory()) throw new Failure(`cannot load ${path}: it is a folder, not an archive`);
  } catch (error) {
    if (error instanceof Failure) throw error;
    const why = isSystemError(error, 'ENOENT') ? 'there is no such file' : messageOf(error);
    throw new Failure(`cannot load ${path}: ${why}`, { cause: error });
  }
}

/** In messages of the size that the server takes. */
async function* chunksOf(source: AsyncIterable<Buffer | string>): AsyncGenerator<{ content: Uint8Array }> {
  for await (const piece of source) {
    const bytes = Buffer.from(piece as Buffer);
    for (let at = 0; at < bytes.length; at += chunkBytes) yield { content: bytes.subarray(at, at + chunkBytes) };
  }
}
