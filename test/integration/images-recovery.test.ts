import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Store } from '../../src/manager/store/index.ts';
import { ImageBed } from '../support/image-bed.ts';
import { tarArchive } from '../support/tar-archive.ts';
import { until } from '../support/until.ts';

const victim = join(import.meta.dirname, '../support/images-victim.ts');

/** The processes of a pull: skopeo has the folder in its command line, and who unpacks the pid of the daemon. */
function processesOfPull(folder: string, daemon: number): string[] {
  const lines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      } catch {
        return '';
      }
    });
  return lines.filter(
    (line) => (line.includes('skopeo') && line.includes(folder)) || line.endsWith(`berth.node\0${daemon}\0`),
  );
}

/** Starts a pull in another process, and kills that when it has said something that fits, or a while after. */
async function killedPull(bed: ImageBed, reference: string, when: RegExp, afterMilliseconds = 0): Promise<void> {
  const child = spawn(process.execPath, [victim, bed.folder, bed.registriesConf, reference], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (text: Buffer) => (said += text.toString()));
  await until('the pull has come so far', () => when.test(said));
  await sleep(afterMilliseconds);
  const { pid = 0 } = child;
  child.kill('SIGKILL');
  await once(child, 'exit');
  await until('its processes have ended with it', () => processesOfPull(bed.folder, pid).length === 0);
}

const files = (count: number, name: string) =>
  tarArchive(Array.from({ length: count }, (_, i) => ({ name: `${name}/${i}`, content: randomBytes(200) })));

test('a daemon that is killed in a pull leaves nothing that the next one does not remove', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('victim:1', [
    tarArchive([{ name: 'big', content: randomBytes(800_000) }]),
    files(20_000, 'many'),
  ]);
  await bed.stop();
  bed.proxy.fault(/GET .*blobs/, { kind: 'slow', bytesPerSecond: 1_000_000 });
  await killedPull(bed, reference, /1/);
  assert.notEqual(readdirSync(join(bed.root, 'tmp')).length, 0);
  await bed.start();
  assert.deepEqual([bed.images.list(), bed.blobs(), bed.layers()], [[], [], []]);
  await bed.assertTidy();

  await bed.stop();
  bed.proxy.mend();
  for (const wait of [0, 50, 200, 400]) {
    await killedPull(bed, reference, /3|pulled/, wait);
    await bed.start();
    await bed.assertTidy();
    const whole = bed.images.list().length;
    if (whole === 0) assert.deepEqual([bed.blobs(), bed.layers()], [[], []]);
    else assert.equal(bed.layersOf(reference).length, 2);
    await bed.images.remove(reference);
    await bed.stop();
  }
  await bed.start();
  await bed.images.pull(reference);
  assert.equal(readdirSync(join(bed.layersOf(reference)[0] as string, 'many')).length, 20_000);
});

test('a folder without a record goes, and an image that has lost a layer is pulled again', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('losing:1', [files(3, 'a'), files(3, 'b')]);
  await bed.images.pull(reference);
  const kept = bed.layers();
  await bed.stop();
  mkdirSync(join(bed.root, 'layers', 'f'.repeat(64), 'fs'), { recursive: true });
  writeFileSync(join(bed.root, 'blobs/sha256', 'f'.repeat(64)), 'half');
  writeFileSync(join(bed.root, 'blobs/sha256', 'no-digest'), 'whatever');
  await bed.start();
  assert.deepEqual(bed.layers(), kept);
  assert.equal(bed.blobs().length, 4);
  assert.equal(bed.images.list().length, 1);

  await bed.stop();
  rmSync(join(bed.root, 'layers', kept[0] as string), { recursive: true });
  await bed.start();
  assert.deepEqual([bed.images.list(), bed.layers()], [[], []]);
  await bed.images.pull(reference);
});

test('layers that may not have reached the disk before a power failure are not trusted after it', async () => {
  await using bed = await ImageBed.open();
  const reference = await bed.publish('power:1', [files(3, 'a')]);
  await bed.images.pull(reference);
  await bed.stop();
  const synced = (unsyncedSince: string) => {
    const store = new Store(bed.storePath);
    store.database.exec(`UPDATE image_layers SET record = json_set(record, '$.unsyncedSince', '${unsyncedSince}')`);
    store[Symbol.dispose]();
  };
  synced('');
  await bed.start();
  assert.equal(bed.images.list().length, 1);
  await bed.stop();
  synced('another boot');
  await bed.start();
  assert.deepEqual([bed.images.list(), bed.layers()], [[], []]);
});

test('a blob that was damaged on the disk is found out when it is needed, and brought anew', async () => {
  await using bed = await ImageBed.open();
  const layer = files(3, 'a');
  const reference = await bed.publish('damaged:1', [layer]);
  const other = await bed.publish('damaged:2', [files(1, 'below'), layer]);
  const { chainIds } = await bed.images.pull(reference);
  assert.equal(chainIds.length, 1);
  const [blob] = bed
    .blobs()
    .filter((name) => readFileSync(join(bed.root, 'blobs/sha256', name)).readUInt16BE(0) === 0x1f8b);
  const path = join(bed.root, 'blobs/sha256', blob as string);
  const bytes = readFileSync(path);
  bytes.writeUInt8(bytes.readUInt8(200) ^ 1, 200);
  writeFileSync(path, bytes);
  await assert.rejects(bed.images.pull(other), /DATA_LOSS|corrupt|sha256|incorrect|invalid/);
  await bed.images.pull(other);
});
