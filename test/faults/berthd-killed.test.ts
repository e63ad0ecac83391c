import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { BerthdBed } from '../support/berthd-bed.ts';
import { makeImageArchive } from '../support/image.ts';
import { makeBusyboxRootfs } from '../support/rootfs.ts';
import { BerthdWorld, steps } from '../support/berthd-world.ts';
import { fuzzSeed, Random } from '../unit/ttrpc/random.ts';

/** In all there are at least 200 kills, in parts that each end within a test's time. */
const parts = 6;
const killsInPart = 35;
const heavyBytes = 4 * 1024 * 1024;

const seed = fuzzSeed();

/** An image with a layer of its own that takes a while to come and to be unpacked; gives its archive. */
async function heavyImage(bed: BerthdBed): Promise<string> {
  const rootfs = bed.path('heavy-rootfs');
  makeBusyboxRootfs(rootfs);
  writeFileSync(join(rootfs, 'heavy'), new Random(1).bytes(heavyBytes));
  const folder = bed.path('heavy');
  mkdirSync(folder);
  return await makeImageArchive(rootfs, folder, 'localhost/heavy:test');
}

describe(`berthd killed in the middle of calls (BERTH_FUZZ_SEED=${seed})`, () => {
  for (let part = 0; part < parts; part++) {
    test(`is consistent after each of ${killsInPart} kills, part ${part + 1} of ${parts}`, async (t) => {
      const bed = await BerthdBed.open(t, { config: '[shims]\npool_size = 1\n' });
      await bed.startRegistry();
      const image = await bed.push(await heavyImage(bed), 'heavy:latest');
      const world = new BerthdWorld(bed, new Random(seed + part), image);
      await world.begin();
      for (let kill = 0; kill < killsInPart; kill++) {
        await world.round(steps[(kill + part) % steps.length] ?? 'run');
      }
      assert.equal(world.kills, killsInPart);
      await world.assertJournal();
    });
  }
});
