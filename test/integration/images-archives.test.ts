import assert from 'node:assert/strict';
import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import test from 'node:test';
import { createGzip } from 'node:zlib';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import type { ArchiveFormat } from '../../src/manager/images/index.ts';
import { command } from '../support/command.ts';
import { ImageBed } from '../support/image-bed.ts';
import { tarArchive } from '../support/tar-archive.ts';

const name = 'docker.io/test/image:1';
const lower = tarArchive([{ name: 'a', content: 'lower' }]);
const upper = tarArchive([
  { name: '.wh.a', content: '' },
  { name: 'b', content: 'upper' },
]);

const fails = (code: Code, message: RegExp) => (error: unknown) => {
  assert.ok(isRpcError(error, code), String(error));
  assert.match(error.message, message);
  return true;
};

async function skopeo(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await command('skopeo', args);
  assert.equal(code, 0, stderr);
  return stdout;
}

for (const format of ['oci-archive', 'docker-archive'] satisfies ArchiveFormat[]) {
  test(`an image that is saved as ${format} is the same where it is loaded, and for other programs`, async () => {
    await using from = await ImageBed.open({ registry: false });
    await using to = await ImageBed.open({ registry: false });
    const id = await from.load([lower, upper], name, { Cmd: ['sh'] });
    assert.deepEqual(from.images.find('test/image:1')?.tags, [name]);
    const path = join(from.folder, 'saved.tar');
    await pipeline(from.images.save(name, format), createWriteStream(path));
    assert.match(await skopeo('inspect', '--config', `${format}:${path}`), /"sh"/);

    assert.deepEqual(await to.images.load(createReadStream(path)), [{ imageId: id, tags: [name] }]);
    assert.equal(readFileSync(join(to.layersOf(name)[0] as string, 'b'), 'utf8'), 'upper');
    assert.deepEqual(to.images.find(id)?.chainIds, from.images.find(id)?.chainIds);
    // Again, compressed: nothing changes.
    const again = await to.images.load(createReadStream(path).pipe(createGzip()));
    assert.deepEqual(again, [{ imageId: id, tags: [name] }]);
    assert.equal(to.images.list().length, 1);
    await to.images.remove(name);
    assert.deepEqual([to.blobs(), to.layers()], [[], []]);
    await to.assertTidy();
  });

  test(`what another program writes as ${format} is loaded`, async () => {
    await using bed = await ImageBed.open({ registry: false });
    const layout = bed.newLayout();
    const layers = [lower, upper, upper].map((layer) => layout.addLayerArchive(layer, { gzip: true }));
    layout.addImage('x/y:1', layers);
    const path = join(bed.folder, 'other.tar');
    await skopeo('copy', `oci:${layout.folder}:x/y:1`, `${format}:${path}:${name}`);
    const [loaded] = await bed.images.load(createReadStream(path));
    assert.deepEqual(loaded?.tags, [name]);
    assert.equal(bed.layersOf(name).length, 3);
    const saved = join(bed.folder, 'saved.tar');
    await pipeline(bed.images.save(loaded.imageId, format), createWriteStream(saved));
    await skopeo('inspect', `${format}:${saved}`);
  });
}

test('an archive that is none, or damaged, or cut off, leaves nothing behind', async () => {
  await using bed = await ImageBed.open({ registry: false });
  const layout = bed.newLayout();
  const layer = layout.addLayerArchive(lower);
  layout.addImage(name, [layer]);
  const path = join(bed.folder, 'whole.tar');
  await layout.archive(path);
  const whole = readFileSync(path);
  const load = (bytes: Buffer) => bed.images.load(Readable.from([bytes]));

  await assert.rejects(load(Buffer.from('hello')), fails(Code.InvalidArgument, /no archive of images/));
  await assert.rejects(load(Buffer.alloc(0)), fails(Code.InvalidArgument, /no archive of images/));
  await assert.rejects(load(lower), fails(Code.InvalidArgument, /neither/));
  await assert.rejects(load(whole.subarray(0, whole.length / 2)), fails(Code.InvalidArgument, /cut off/));
  const at = whole.indexOf('lower');
  const damaged = Buffer.from(whole);
  damaged.write('LOWER', at);
  await assert.rejects(load(damaged), fails(Code.DataLoss, /is in fact/));
  writeFileSync(
    join(layout.folder, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ digest: `sha256:${'1'.repeat(64)}`, size: 3 }] }),
  );
  await layout.archive(path);
  await assert.rejects(bed.images.load(createReadStream(path)), fails(Code.InvalidArgument, /lacks sha256:1/));
  await assert.rejects(
    load(tarArchive([{ name: 'manifest.json', content: '[{"Config":"../../etc/passwd","Layers":["x"]}]' }])),
    fails(Code.InvalidArgument, /lacks/),
  );
  const dockerList = (list: unknown) => load(tarArchive([{ name: 'manifest.json', content: JSON.stringify(list) }]));
  const layers = Array.from({ length: 600 }, () => 'manifest.json');
  await assert.rejects(
    dockerList([{ Config: 'manifest.json', Layers: layers }]),
    fails(Code.InvalidArgument, /more than 512 layers/),
  );
  await assert.rejects(dockerList(layers), fails(Code.InvalidArgument, /more than 100 images/));
  async function* breaking(): AsyncGenerator<Buffer> {
    yield await Promise.resolve(whole.subarray(0, 1000));
    throw new Error('the caller is gone');
  }
  await assert.rejects(bed.images.load(Readable.from(breaking())), /the caller is gone/);
  assert.deepEqual([bed.images.list(), bed.layers()], [[], []]);
  await bed.images.collectGarbage();
  assert.deepEqual(bed.blobs(), []);
  assert.throws(() => bed.images.save('nothing:here'), fails(Code.NotFound, /nothing:here/));
  await bed.assertTidy();
});
