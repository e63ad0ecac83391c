import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import type { LayerProgress } from '../../src/manager/images/index.ts';
import { childProcesses } from '../../src/linux/index.ts';
import { ImageBed } from '../support/image-bed.ts';
import { registriesConf } from '../support/registry.ts';
import { tarArchive } from '../support/tar-archive.ts';
import { until } from '../support/until.ts';

/** "alice" and "sesame", by bcrypt. */
const htpasswd = 'alice:$2b$04$gDCM1Af4G1Y3wJv6ozkX1eiSR4EbkTguQuKInTSBJl3Ga1YXQVd6K\n';

const fails = (code: Code, message?: RegExp) => (error: unknown) => {
  assert.ok(isRpcError(error, code), String(error));
  if (message !== undefined) assert.match(error.message, message);
  return true;
};

const fileLayer = (name: string, content: string | Buffer) => tarArchive([{ name, content }]);
const bulk = (bytes: number) => randomBytes(bytes);

test('an image is pulled, found by all of its names, and unpacked', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('some/image:1', [fileLayer('a', 'lower'), fileLayer('b', 'upper')], {
    Cmd: ['sh'],
    User: '7:8',
    Env: ['A=b'],
    Labels: { some: 'label' },
  });
  const states: LayerProgress['state'][][] = [];
  const record = await bed.images.pull(reference, {
    onProgress: (layers) => states.push(layers.map(({ state }) => state)),
  });
  assert.deepEqual(record.tags, [reference]);
  assert.deepEqual(record.config.cmd, ['sh']);
  assert.equal(record.config.user, '7:8');
  assert.deepEqual(record.config.labels, { some: 'label' });
  assert.deepEqual(states.at(-1), [4, 4]);
  for (const name of [record.id, record.id.slice(7, 20), record.digests[0] as string, reference]) {
    assert.equal(bed.images.find(name)?.id, record.id, name);
  }
  const [upper, lower] = bed.layersOf(reference);
  assert.equal(readFileSync(join(upper as string, 'b'), 'utf8'), 'upper');
  assert.equal(readFileSync(join(lower as string, 'a'), 'utf8'), 'lower');
  assert.equal(bed.images.find('nothing/here'), undefined);
  assert.equal(bed.images.find('--hostile'), undefined);
  const usage = await bed.images.usage();
  assert.ok(usage.usedBytes > 8192 && usage.inodesUsed > 6);
  await bed.assertTidy();
});

test('a second pull by tag asks for the manifest alone, and sees that the tag has moved', async () => {
  await using bed = await ImageBed.open();
  const base = fileLayer('base', 'base');
  const reference = await bed.publish('moving:1', [base, fileLayer('a', '1')]);
  const first = await bed.images.pull(reference);
  bed.proxy.requests.length = 0;
  assert.equal((await bed.images.pull(reference)).id, first.id);
  assert.equal(bed.proxy.count(/blobs/), 0);
  assert.equal(bed.proxy.count(/manifests/), 1);

  await bed.publish('moving:1', [base, fileLayer('a', '2')]);
  bed.proxy.requests.length = 0;
  const second = await bed.images.pull(reference);
  assert.notEqual(second.id, first.id);
  assert.equal(second.chainIds[0], first.chainIds[0], 'the layer that both have is there once');
  assert.equal(bed.proxy.count(/GET .*blobs/), 3, 'one layer, and the configuration for each who needs it');
  assert.deepEqual(bed.images.find(first.id)?.tags, [], 'the former image has lost its tag');
});

test('an image is chosen from an index by this machine, and found by the digests of both', async () => {
  await using bed = await ImageBed.open();
  const layout = bed.newLayout();
  const ours = layout.addImage('a', [layout.addLayerArchive(fileLayer('a', 'ours'), { zstd: true })]);
  const other = layout.addImage('b', [layout.addLayerArchive(fileLayer('a', 'not ours'))]);
  const architecture = { x64: 'amd64', arm64: 'arm64' }[process.arch as string];
  layout.addIndex('x/y:1', [
    { ...other, platform: { os: 'windows', architecture: architecture as string } },
    { ...other, platform: { os: 'linux', architecture: 's390x' } },
    { ...ours, platform: { os: 'linux', architecture: architecture as string } },
  ]);
  const reference = await bed.push(layout, 'multi:1', ['--all']);
  const record = await bed.images.pull(reference);
  assert.equal(record.manifestDigest, ours.digest);
  assert.equal(record.digests.length, 2);
  for (const digest of record.digests) assert.equal(bed.images.find(digest)?.id, record.id);
  assert.equal(readFileSync(join(bed.layersOf(reference)[0] as string, 'a'), 'utf8'), 'ours');
  const byDigest = record.digests[0] as string;
  assert.equal((await bed.images.pull(byDigest)).id, record.id);
});

test('a registry that wants credentials gets them, and they are nowhere afterwards', async () => {
  await using bed = await ImageBed.open({ htpasswd, credentials: 'alice:sesame' });
  const reference = await bed.publish('secret:1', [fileLayer('a', 'a')]);
  const unauthenticated = fails(Code.Unauthenticated);
  await assert.rejects(bed.images.pull(reference), unauthenticated);
  await assert.rejects(bed.images.pull(reference, { auth: { username: 'alice', password: 'wrong' } }), unauthenticated);
  await assert.rejects(
    bed.images.pull(reference, {
      auth: { username: 'alice', password: 'sesame', serverAddress: 'https://elsewhere.example' },
    }),
    unauthenticated,
  );
  await assert.rejects(
    bed.images.pull(reference, { auth: { registryToken: 'x' } }),
    fails(Code.Unimplemented, /registry token/),
  );
  await assert.rejects(bed.images.pull(reference, { auth: { auth: 'bm9jb2xvbg==' } }), fails(Code.InvalidArgument));
  const watched = watchCommandLines();
  const { id } = await bed.images.pull(reference, { auth: { username: 'alice', password: 'sesame' } });
  assert.ok(!watched.stop().some((line) => line.includes('sesame')), 'no command line had the password');
  const auth = Buffer.from('alice:sesame').toString('base64');
  assert.equal((await bed.images.pull(reference, { auth: { auth } })).id, id);
  await assert.rejects(bed.images.pull(reference), unauthenticated, 'that it is here lets nobody in');
  await bed.assertTidy();
});

test('an identity token is given to the token service alone', async () => {
  await using bed = await ImageBed.open();
  const bodies: string[] = [];
  const server = createServer((asked, answer) => {
    asked.on('data', (bytes: Buffer) => bodies.push(bytes.toString()));
    asked.on('end', () => {
      const realm = `http://${asked.headers.host}/token`;
      if (asked.url?.startsWith('/token') === true) answer.writeHead(200).end('{"access_token":"granted"}');
      else if (asked.headers.authorization === 'Bearer granted') answer.writeHead(404).end();
      else answer.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="here"` }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    appendFileSync(bed.registriesConf, registriesConf({ [address]: address }).replace(/^unqualified.*$/m, ''));
    const pulling = bed.images.pull(`${address}/x:1`, { auth: { identityToken: 'refresh-me' } });
    await assert.rejects(pulling, (error) => isRpcError(error, Code.NotFound));
    assert.match(bodies.join(), /grant_type=refresh_token/);
    assert.match(bodies.join(), /refresh_token=refresh-me/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('what goes wrong at a registry is told by its status', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('there:1', [fileLayer('a', 'a')]);
  const address = bed.proxy.address;
  await assert.rejects(bed.images.pull(`${address}/there:none`), fails(Code.NotFound));
  await assert.rejects(bed.images.pull(`${address}/none:1`), fails(Code.NotFound));
  await assert.rejects(bed.images.pull(`${address}/there@sha256:${'0'.repeat(64)}`), fails(Code.NotFound));
  await assert.rejects(bed.images.pull('127.0.0.1:1/x:1'), fails(Code.Unavailable, /connection refused/));
  await assert.rejects(bed.images.pull('--help'), fails(Code.InvalidArgument));
  bed.proxy.fault(/manifests/, { kind: 'lies' });
  await assert.rejects(bed.images.pull(reference), (error) => isRpcError(error));
  assert.deepEqual(bed.images.list(), []);
  await bed.assertTidy();
});

test('a registry that serves another content than its digest says is found out, and a later pull is whole', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('lying:1', [fileLayer('a', bulk(100_000)), fileLayer('b', 'b')]);
  bed.proxy.fault(/GET .*blobs/, { kind: 'lies' });
  await assert.rejects(bed.images.pull(reference), fails(Code.DataLoss));
  bed.proxy.mend();
  await bed.images.pull(reference);
  const byDigest = bed.images.list()[0]?.digests[0] as string;
  bed.proxy.fault(/manifests/, { kind: 'lies' });
  await assert.rejects(bed.images.pull(byDigest), fails(Code.DataLoss));
});

test('a connection that breaks off fails the pull, and the next one ends well', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('breaking:1', [fileLayer('a', bulk(300_000)), fileLayer('b', 'b')]);
  bed.proxy.fault(/GET .*blobs/, { kind: 'breaks', afterBytes: 50_000 });
  await assert.rejects(bed.images.pull(reference), fails(Code.Unavailable));
  await bed.assertTidy();
  bed.proxy.mend();
  await bed.images.pull(reference);
});

test('a slow registry is waited for as long as something comes, and one that hangs is not', async () => {
  await using bed = await ImageBed.open({ stallSeconds: 3 });
  const reference = await bed.publish('slow:1', [fileLayer('a', bulk(900_000))]);
  bed.proxy.fault(/GET .*blobs/, { kind: 'slow', bytesPerSecond: 200_000 });
  const seen: bigint[] = [];
  const began = performance.now();
  await bed.images.pull(reference, { onProgress: ([layer]) => seen.push(layer?.done ?? 0n) });
  assert.ok(performance.now() - began > 3500);
  assert.ok(new Set(seen).size > 3, 'progress was told on the way');

  const hanging = await bed.publish('hanging:1', [fileLayer('a', bulk(400_001))]);
  bed.proxy.mend();
  bed.proxy.fault(/GET .*blobs/, { kind: 'hangs', afterBytes: 10_000 });
  await assert.rejects(bed.images.pull(hanging), fails(Code.DeadlineExceeded, /3 s/));
  bed.proxy.mend();
  bed.proxy.fault(/manifests/, { kind: 'hangs', afterBytes: 0 });
  await assert.rejects(bed.images.pull(hanging), fails(Code.DeadlineExceeded));
  await bed.assertTidy();
});

test('pulls of one image at the same time are one, and of images with a common layer unpack it once', async () => {
  await using bed = await ImageBed.open();
  const common = fileLayer('common', bulk(2_000_000));
  const one = await bed.publish('one:1', [common, fileLayer('a', '1')]);
  const two = await bed.publish('two:1', [common, fileLayer('a', '2')]);
  const pulled = await Promise.all([one, one, one, one, two].map((reference) => bed.images.pull(reference)));
  assert.equal(new Set(pulled.map(({ id }) => id)).size, 2);
  assert.equal(bed.proxy.count(/GET .*\/one\/manifests\/1$/), 1);
  assert.equal(bed.layers().length, 3);
});

test('a caller that goes away leaves the pull to the others, and the last one ends it', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('left:1', [fileLayer('a', bulk(500_000))]);
  bed.proxy.fault(/GET .*blobs/, { kind: 'slow', bytesPerSecond: 500_000 });
  const leaving = new AbortController();
  const left = bed.images.pull(reference, { signal: leaving.signal });
  const staying = bed.images.pull(reference);
  await sleep(300);
  leaving.abort();
  await assert.rejects(left, fails(Code.Cancelled));
  await staying;
  await bed.images.remove(reference);
  const alone = new AbortController();
  const given = bed.images.pull(reference, { signal: alone.signal });
  await sleep(300);
  alone.abort();
  await assert.rejects(given, fails(Code.Cancelled));
  await until('skopeo has ended', () => commandLines().every((line) => !line.includes('skopeo')));
  await bed.assertTidy();
  await until('its blobs are collected', () => bed.blobs().length === 0);
});

test('what is removed is collected, but not what another image or a container has', async () => {
  await using bed = await ImageBed.open();
  const common = fileLayer('common', 'common');
  const one = await bed.publish('one:1', [common, fileLayer('a', '1')]);
  const two = await bed.publish('two:1', [common, fileLayer('a', '2')]);
  const { id } = await bed.images.pull(one);
  await bed.images.pull(two);
  const [upper] = bed.layersOf(one) as [string];
  bed.inUse.add(id);
  await bed.images.remove(one);
  assert.equal(bed.images.find(one), undefined);
  assert.equal(bed.images.list().length, 1);
  assert.ok(existsSync(upper), 'a container uses it');
  assert.equal(bed.images.layers(id).length, 2);
  await bed.stop();
  await bed.start();
  assert.ok(existsSync(upper), 'also for the next daemon');
  bed.inUse.clear();
  await bed.images.collectGarbage();
  assert.ok(!existsSync(upper));
  assert.equal(bed.layers().length, 2);
  await bed.images.remove('not/there:1');
  await bed.images.remove(two);
  assert.deepEqual([bed.layers(), bed.blobs()], [[], []]);
  assert.throws(() => bed.images.layers(id), fails(Code.NotFound));
});

test('an image goes with its last name, and by its id with all of them', async () => {
  await using bed = await ImageBed.open();
  const layers = [fileLayer('a', 'a')];
  const names = [await bed.publish('a:1', layers), await bed.publish('a:2', layers), await bed.publish('b:1', layers)];
  for (const name of names) await bed.images.pull(name);
  const [image] = bed.images.list();
  assert.deepEqual(image?.tags, names);
  assert.equal(image.digests.length, 2);
  await bed.images.remove(names[0] as string);
  assert.equal(bed.images.list()[0]?.digests.length, 2);
  await bed.images.remove(names[1] as string);
  assert.deepEqual(bed.images.list()[0]?.tags, [names[2]]);
  assert.equal(bed.images.list()[0]?.digests.length, 1);
  await bed.images.remove(names[2] as string);
  assert.deepEqual(bed.images.list(), []);
  for (const name of names) await bed.images.pull(name);
  await bed.images.remove(image.id);
  assert.deepEqual(bed.images.list(), []);
  assert.deepEqual(readdirSync(join(bed.root, 'layers')), []);
});

function commandLines(): string[] {
  return childProcesses().map((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    } catch {
      return '';
    }
  });
}

/** Looks at the command lines of our children again and again. */
function watchCommandLines(): { stop: () => string[] } {
  const seen = new Set<string>();
  const timer = setInterval(() => commandLines().forEach((line) => seen.add(line)), 5);
  return {
    stop: () => {
      clearInterval(timer);
      assert.ok(
        [...seen].some((line) => line.includes('skopeo')),
        'it was seen at all',
      );
      return [...seen];
    },
  };
}
