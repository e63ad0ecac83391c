import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { processSpec } from '../support/bundle.ts';
import { privateMemoryBytes } from '../support/process-tree.ts';
import { ShimBed } from '../support/shim-bed.ts';
import type { ShimClient } from '../support/shim-client.ts';

const warmUp = 500;
const execs = 1_000;
const atOnce = 3;
/** A garbage collector takes its time; a leak of as little as 8 KB an exec is still seen. */
const allowedGrowthBytes = 8 * 1024 * 1024;

async function runExecs(client: ShimClient, from: number, count: number): Promise<void> {
  let next = from;
  const loop = async (): Promise<void> => {
    while (next < from + count) {
      const execId = `e${next++}`;
      await client.exec(execId, processSpec({ args: ['true'] }));
      await client.startTask(execId);
      await client.wait(execId);
      await client.delete(execId);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, loop));
}

function folderBytes(folder: string): number {
  const sizes = readdirSync(folder, { withFileTypes: true }).map((entry) =>
    entry.isFile() ? statSync(`${folder}/${entry.name}`).size : 0,
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

test('1,000 execs leave no memory, descriptors or files behind in a shim', { timeout: 85_000 }, async (t) => {
  const bed = await ShimBed.open(t, { runtime: 'crun', env: { BERTH_SLEEP_AFTER_SECONDS: '0' } });
  const { client } = await bed.running('one', ['sleep', '600']);
  const shim = await client.shimPid();
  const look = () => ({
    privateBytes: privateMemoryBytes(shim),
    descriptors: readdirSync(`/proc/${shim}/fd`).length,
    files: readdirSync(client.options.bundle).length,
    fileBytes: folderBytes(client.options.bundle),
  });
  await runExecs(client, 0, warmUp);
  const before = look();
  await runExecs(client, warmUp, execs);
  const after = look();
  t.diagnostic(
    `private memory ${before.privateBytes} → ${after.privateBytes} bytes, descriptors ${before.descriptors} → ${after.descriptors}`,
  );
  assert.equal(after.descriptors, before.descriptors);
  assert.equal(after.files, before.files);
  assert.ok(
    after.fileBytes <= before.fileBytes + 4096,
    `records grew from ${before.fileBytes} to ${after.fileBytes} bytes`,
  );
  assert.ok(after.privateBytes <= before.privateBytes + allowedGrowthBytes, 'memory grew');
});
