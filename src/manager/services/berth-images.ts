import { Readable } from 'node:stream';
import { Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import type { berth } from '../../wire/index.ts';
import { type Init } from '../../wire/index.ts';
import type { Images, LayerProgress } from '../images/index.ts';

const chunkBytes = 256 * 1024;
/** Progress is told at most so often. */
const progressMs = 100;

/** berth.v1.Images: pulls that tell how far they are, and archives. */
export function berthImagesService(images: Images): ServiceHandlers<typeof berth.Images> {
  return {
    Pull: ({ image, username, password }, { signal }) => pull(images, image, username, password, signal),
    Load: async (chunks) => {
      const archive = Readable.from(contents(chunks), { objectMode: false, highWaterMark: chunkBytes });
      const loaded = await images.load(archive);
      return { images: loaded.map(({ imageId, tags }) => ({ imageId, tags })) };
    },
    Save: ({ image, format }) => save(images, image, format),
  };
}

async function* contents(chunks: AsyncIterable<berth.ArchiveChunk>): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { content } of chunks) if (content.length > 0) yield content;
}

async function* save(
  images: Images,
  image: string,
  format: string,
): AsyncGenerator<Init<berth.ArchiveChunk>, void, undefined> {
  if (format !== '' && format !== 'oci-archive' && format !== 'docker-archive') {
    throw new RpcError(Code.InvalidArgument, `format "${format}": there are oci-archive and docker-archive`);
  }
  for await (const content of images.save(image, format === '' ? 'oci-archive' : format)) {
    for (let at = 0; at < (content as Buffer).length; at += chunkBytes) {
      yield { content: (content as Buffer).subarray(at, at + chunkBytes) };
    }
  }
}

async function* pull(
  images: Images,
  image: string,
  username: string,
  password: string,
  signal: AbortSignal,
): AsyncGenerator<Init<berth.PullProgress>, void, undefined> {
  const untold: (readonly LayerProgress[])[] = [];
  let wake: () => void = () => undefined;
  const onProgress = (layers: readonly LayerProgress[]) => {
    untold.splice(0, 1, layers);
    wake();
  };
  const auth = username === '' ? undefined : { username, password };
  const pulling = images.pull(image, { signal, onProgress, ...(auth && { auth }) });
  const finished = pulling.then(
    () => 'over' as const,
    () => 'over' as const,
  );
  for (;;) {
    const layers = untold.pop();
    if (layers !== undefined) yield { layers };
    const more = new Promise<'more'>((resolve) => {
      if (layers === undefined) wake = () => resolve('more');
      else setTimeout(() => resolve('more'), progressMs);
    });
    if ((await Promise.race([finished, more])) === 'over') break;
  }
  const { id, digests } = await pulling;
  yield { layers: untold.pop() ?? [], imageId: id, imageRef: digests[0] ?? id };
}
